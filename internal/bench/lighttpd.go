package main

import "context"

// startLighttpd starts lighttpd as one process that spawns its own children.
func startLighttpd(_ context.Context, b *bench, in *instance) error {
	st := in.site(b)
	if err := st.spawn(b, in); err != nil {
		return err
	}
	path, err := lookPath("lighttpd")
	if err != nil {
		return err
	}
	conf, err := in.write("lighttpd.conf", st)
	if err != nil {
		return err
	}
	return in.run(b, path, "-D", "-f", conf)
}
