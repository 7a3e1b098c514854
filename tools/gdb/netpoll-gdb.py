# SPDX-License-Identifier: BSD-2-Clause
"""gdb commands for programs on libnetpoll-bpf: fibers and their stacks, in a live process and in a core.

  (gdb) source netpoll-gdb.py
  (gdb) np-fibers        every fiber of every poller: its number, what it waits for, in which handler
  (gdb) np-bt N          the stack of fiber N
  (gdb) np-fiber N       step into it: bt, up, info locals speak of fiber N; np-fiber off steps out

What is read here is the memory of the process alone: nothing is called in it. Needs the debug information of the
library. A fiber that runs is on a thread, and its stack is that thread's; the stack of one that is parked begins where
its last switch left off, which an unwinder puts under the innermost frame of the selected thread.
"""
import gdb
from gdb.unwinder import Unwinder, register_unwinder

REGISTERS = {'i386:x86-64': ('rip', 'rsp', 'rbp'), 'aarch64': ('pc', 'sp', 'x29')}
SETS = 0  # enum registry_kind


class Place:
    """Where a parked fiber goes on."""

    def __init__(self, value):
        self.pc, self.sp, self.fp = (int(value[f]) for f in ('pc', 'sp', 'fp'))


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class FiberUnwinder(Unwinder):
    """Says that the innermost frame of the selected thread was called by the fiber."""

    def __init__(self):
        super().__init__('netpoll-fiber')
        self.place = self.names = self.at = None

    def enter(self, place):
        self.leave()
        frame = gdb.newest_frame()
        self.names = registers()
        self.at = tuple(int(frame.read_register(r)) for r in self.names[:2])
        self.place = place
        gdb.invalidate_cached_frames()

    def leave(self):
        if self.place is not None:
            self.place = None
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.place is None:  # and no question to gdb about frames: it is at one
            return None
        pc, sp, fp = self.names
        here = pending.read_register(pc), pending.read_register(sp)
        if tuple(int(v) for v in here) != self.at:
            return None
        info = pending.create_unwind_info(FrameId(here[1], here[0]))
        for name, v in ((pc, self.place.pc), (sp, self.place.sp), (fp, self.place.fp)):
            info.add_saved_register(name, gdb.Value(v).cast(pending.read_register(name).type))
        return info


def registers():
    name = gdb.newest_frame().architecture().name()
    if name not in REGISTERS:
        raise gdb.GdbError(f'stacks of fibers are known for x86-64 and aarch64, and not for {name}')
    return REGISTERS[name]


def pointer(name):
    return gdb.lookup_type(name).pointer()


def walk(head):
    """The nodes of a struct list."""
    at = head['next']
    while at and at != head.address:
        yield at
        at = at['next']


def pollers():
    symbol = gdb.lookup_static_symbol('registry_lists')
    if symbol is None:
        raise gdb.GdbError('no debug information of libnetpoll-bpf: is it the library that the program runs with?')
    for node in walk(symbol.value()[SETS]):
        pollers_of = node.cast(pointer('struct np_pollers'))
        for i in range(int(pollers_of['n'])):
            yield i, pollers_of['poller'][i]


def fibers():
    """(poller's index, struct fiber *) of each that runs or is parked."""
    for i, p in pollers():
        f = p['fibers']['all']
        while f:
            if f['call']['fn']:
                yield i, f
            f = f['next']


def nth(text):
    for i, (_, f) in enumerate(fibers(), 1):
        if text == str(i):
            return f
    raise gdb.GdbError(f'there is no fiber "{text}": np-fibers has their numbers')


def park_of(f):
    """Its wait, or None: it runs."""
    return f['owner'].cast(pointer('struct park')) if f['owner'] else None


def words(value):
    return value.string(errors='replace') if value else '-'


def function(address):
    block = gdb.block_for_pc(int(address)) if address else None
    while block and not block.function:
        block = block.superblock
    return block.function.name if block else hex(int(address)) if address else '-'


def thread_of(f):
    """The thread whose stack pointer is in the stack of @f."""
    low = int(f['stack']['map'])
    was = gdb.selected_thread()
    try:
        for t in gdb.selected_inferior().threads():
            t.switch()
            if low <= int(gdb.newest_frame().read_register(registers()[1])) < int(f) + 4096:
                return t
    finally:
        was.switch()
    return None


class Fibers(gdb.Command):
    """np-fibers: every fiber of every poller: its number, what it waits for, and in which handler."""

    def __init__(self):
        super().__init__('np-fibers', gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        unwinder.leave()
        print(f'{"N":>4}  {"poller":>6}  {"fiber":<14}  {"waits":<10}  {"fd":>4}  {"tag":<12}  handler')
        n = 0
        for n, (i, f) in enumerate(fibers(), 1):
            k = park_of(f)
            if k is None:
                t = thread_of(f)
                what, fd, tag, handler = 'runs', f'T{t.num}' if t else '-', '-', f['call']['fn']
            else:
                what, fd, tag, handler = words(k['what']), int(k['fd']), words(k['tag']), k['handler']
            print(f'{n:>4}  {i:>6}  {int(f):#014x}  {what:<10}  {fd:>4}  {tag:<12}  {function(handler)}')
        if n == 0:
            print('no handler or task is under way')


def enter(f):
    """The selected frame is the fiber's innermost from here on."""
    if park_of(f) is not None:
        unwinder.enter(Place(f['place']))
        gdb.newest_frame().older().select()
        return
    t = thread_of(f)
    if t is None:
        raise gdb.GdbError('it runs, and no thread is on its stack: its thread is not in this core?')
    t.switch()


class Bt(gdb.Command):
    """np-bt N: the stack of fiber N of np-fibers."""

    def __init__(self):
        super().__init__('np-bt', gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        was = gdb.selected_thread()
        f = nth(arg)
        try:
            enter(f)
            frame, level = gdb.selected_frame(), 0
            while frame:
                sal = frame.find_sal()
                at = f' at {sal.symtab.filename}:{sal.line}' if sal.symtab else ''
                print(f'#{level:<3} {frame.pc():#018x} in {frame.name() or "??"} (){at}')
                frame, level = frame.older(), level + 1
        finally:
            unwinder.leave()
            was.switch()


class Fiber(gdb.Command):
    """np-fiber N: bt, up and info locals speak of fiber N, from frame 1 on; np-fiber off: of the thread again."""

    def __init__(self):
        super().__init__('np-fiber', gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        unwinder.leave()
        if arg != 'off':
            enter(nth(arg))
        gdb.execute('frame')


unwinder = FiberUnwinder()
register_unwinder(None, unwinder, replace=True)
Fibers()
Bt()
Fiber()
