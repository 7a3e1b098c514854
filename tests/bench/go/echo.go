// SPDX-License-Identifier: BSD-2-Clause

// echo: framed echo over Go's net, one goroutine for each connection; answers leave together when
// nothing more of the input is at hand, as bufio allows.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
)

const frameMax = 16 << 20

func serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	w := bufio.NewWriterSize(c, 64<<10)
	frame := make([]byte, 4+1024)
	for {
		if _, err := io.ReadFull(r, frame[:4]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(frame))
		if n > frameMax {
			return
		}
		if 4+n > len(frame) {
			bigger := make([]byte, 4+n)
			copy(bigger, frame[:4])
			frame = bigger
		}
		if _, err := io.ReadFull(r, frame[4:4+n]); err != nil {
			return
		}
		if _, err := w.Write(frame[:4+n]); err != nil {
			return
		}
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
	}
}

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}
