// SPDX-License-Identifier: BSD-2-Clause

// stall: the server of tests/bench/handoff.c in Go, for a look at what its runtime does with a
// goroutine that keeps its thread. A request is op and microseconds, 4 bytes each; so is the answer.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"syscall"
	"time"
)

const (
	sleep   = 1
	compute = 2
)

// Sleeps in the kernel, as a driver's call does: time.Sleep would park the goroutine alone.
func block(us uint32) {
	ts := syscall.NsecToTimespec(int64(us) * 1000)
	syscall.Nanosleep(&ts, nil)
}

func serve(c net.Conn) {
	defer c.Close()
	q := make([]byte, 8)
	for {
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		us := binary.LittleEndian.Uint32(q[4:])
		switch binary.LittleEndian.Uint32(q) {
		case sleep:
			block(us)
		case compute:
			end := time.Now().Add(time.Duration(us) * time.Microsecond)
			for time.Now().Before(end) {
			}
		}
		if _, err := c.Write(q); err != nil {
			return
		}
	}
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}
