package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documented is every key of the documented configuration, by table.
const documented = `
listen workers runtime control user group watch include stop_timeout drain_timeout spool_dir
listener: address backlog mode user group proxy_from
accept: mode permits lock_dir
linger: mode idle total max
limits: connections at_limit per_client header_bytes header_timeout body_bytes body_memory body_rate response_memory
limits: response_bytes keepalive_idle keepalive_requests send_timeout half_close trusted_proxies
log: error level access format slow
status: listen extended scoreboard
app: name kind command address script_root role dir env pass_env user group umask
app.rlimit: memory cpu files processes
app: scale min max spare connections max_requests max_age max_memory idle_timeout start_timeout connect_timeout
app: header_timeout header_bytes read_timeout request_timeout stop_signal stop_grace queue queue_timeout keepalive
app: max_conns balance max_fails fail_timeout pass_authorization stderr_rate limit_rate release release_bytes
app: release_timeout background
app.send_file: headers roots delete_roots decode symlinks reproxy type precompressed on_complete
send: cache io_threads io_queue shed_file
site: hosts root index fallback dotfiles follow_symlinks types
site.route: match app dir script alias static deny internal env authorizer encoded_slashes stream_body
site.route: stream_response secure_link
`

func TestSchemaHasEveryDocumentedKey(t *testing.T) {
	var want, got []string
	for line := range strings.Lines(strings.TrimSpace(documented)) {
		table, keys, ok := strings.Cut(line, ": ")
		if !ok {
			table, keys = "", line
		}
		for k := range strings.FieldsSeq(keys) {
			want = append(want, strings.TrimPrefix(table+"."+k, "."))
		}
	}
	var paths []keyPath
	fileRows.paths("", &paths)
	for _, p := range paths {
		got = append(got, p.name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-documented +schema\n%s", diff)
	}
	if names := secureLinkRows.names(); !slices.Equal(names, []string{"secret_file", "bind_client"}) {
		t.Errorf("secure_link: %v", names)
	}
}

// TestDefaultsAreValid: what is in effect without a word can also be written.
func TestDefaultsAreValid(t *testing.T) {
	fixed(t)
	for _, everything := range []bool{false, true} {
		text := []byte(minimal + "[[site]]\nroot = \"/\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\n")
		c, err := parse("/etc/sluice.toml", text, noDisk, everything)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, c.File, c, everything)
	}
}
