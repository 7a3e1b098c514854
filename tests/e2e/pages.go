// SPDX-License-Identifier: BSD-2-Clause

// pages: net/http as its users have it, a process for each listener: pages PORT. It ends where
// accept(2) fails.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"syscall"
)

const soReuseport = 15

func share(network, address string, c syscall.RawConn) error {
	var err error
	c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReuseport, 1)
	})
	return err
}

func main() {
	lc := net.ListenConfig{Control: share}
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("ok\n"))
	})))
}
