package main

import (
	"context"
	"path/filepath"
)

// startNginx starts nginx in one of its variants. "nginx-1" is one process
// in place of one for each CPU: on few CPUs, which clients and children need as
// well, now the one and now the other is ahead, so bars are held to the better.
//
// With fastcgi_keep_conn every idle connection of every worker holds a child
// that serves one at a time, and requests on other connections wait for it. So
// the children of plain "nginx" are private sockets and hold many connections;
// "nginx-nokeep" has one shared socket and strict children.
func startNginx(_ context.Context, b *bench, in *instance) error {
	st := in.site(b)
	st.FileCache, st.Threads = in.name == "nginx-cache", in.name == "nginx-aio"
	if in.name == "nginx-1" {
		st.Workers = 1
	}
	var err error
	switch in.scenario.kind {
	case kindFastCGI:
		st.Keep = in.name != "nginx-nokeep"
		err = in.attach(b, &st, st.Keep, b.child(st.Keep, ""))
	case kindSend:
		// nginx closes the connection to the child at X-Accel-Redirect anyway.
		err = in.attach(b, &st, false, in.sender(b, "X-Accel-Redirect=/protected/"+in.scenario.sends()))
	case kindPHP:
		err = in.attachFPM(b, &st)
	case kindCGI:
		err = in.attachWrap(b, &st)
	}
	if err != nil {
		return err
	}
	path, err := lookPath("nginx")
	if err != nil {
		return err
	}
	conf, err := in.write("nginx.conf", st)
	if err != nil {
		return err
	}
	return in.run(b, path, "-p", in.dir, "-e", filepath.Join(in.dir, "error.log"), "-c", conf)
}

// attachWrap starts fcgiwrap. It does the front end's work (it starts the
// script and copies its output), so its CPU is counted with nginx's.
func (in *instance) attachWrap(b *bench, st *site) error {
	path, err := lookPath("fcgiwrap")
	if err != nil {
		return err
	}
	socket := filepath.Join(in.dir, "wrap.sock")
	f, err := listenUnix(socket)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := b.procs.start(launch{name: "fcgiwrap", dir: in.dir, argv: []string{path, "-c", "4"}, stdin: f})
	if err != nil {
		return err
	}
	in.front = append(in.front, p)
	st.Sockets = []string{socket}
	return nil
}
