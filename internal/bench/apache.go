package main

import (
	"context"
	"errors"
	"os"
)

// apacheModules are where distributions put Apache's modules.
var apacheModules = []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/local/apache2/modules"}

// startApache starts Apache with the event MPM, mod_proxy_fcgi to a shared
// socket (without connection reuse, its default), and mod_cgid.
func startApache(_ context.Context, b *bench, in *instance) error {
	st := in.site(b)
	for _, dir := range apacheModules {
		if _, err := os.Stat(dir + "/mod_mpm_event.so"); err == nil {
			st.Modules = dir
			break
		}
	}
	if st.Modules == "" {
		return errors.New("apache: no modules folder")
	}
	var err error
	switch in.scenario.kind {
	case kindFastCGI:
		err = in.attach(b, &st, false, b.child(false, ""))
	case kindPHP:
		st.Script = st.Root + st.Path
		err = in.attachFPM(b, &st)
	}
	if err != nil {
		return err
	}
	path, err := lookPath("apache2")
	if err != nil {
		return err
	}
	conf, err := in.write("apache.conf", st)
	if err != nil {
		return err
	}
	return in.run(b, path, "-DFOREGROUND", "-f", conf)
}
