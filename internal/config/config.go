// Package config turns sluice's TOML file into one validated, immutable value.
//
// Load reports every mistake of a file at once, each with file, line and
// column; a value that Load returned without an error needs no further check.
// Nothing in it may be changed after that: workers of one generation share it.
//
// The file is read in four steps, one source file each: parse.go turns TOML into
// a tree that knows the position of every key and value, include.go merges the
// included files into it, the tables of rows (rows.go, rows_app.go, rows_site.go:
// one row per key, with its type, default and support) turn the tree into a
// Config, and check.go looks at what concerns several keys at once. What needs
// the file system or the user database is apart, in CheckFiles.
package config

import "time"

// Config is the whole configuration with every default filled in and every
// relative path made absolute (relative to the file it stands in).
type Config struct {
	File         string        // absolute path of the main file; "" when there is none (serve DIR, demo)
	Listeners    []Listener    // the entries of `listen`, then those of [[listener]]
	Workers      int           // 1 to 64 (0 in the file has become the number of CPUs)
	Runtime      string        // directory for sockets and locks
	Control      string        // path of the control socket
	User         string        // name or number; "" is: as started
	Group        string        // name or number; "" is: the user's
	Watch        bool          // reload when the file changes
	Include      []string      // patterns as written, made absolute
	StopTimeout  time.Duration // bound of a stop
	DrainTimeout time.Duration // bound of an old generation; 0: none
	SpoolDir     string        // unlinked temporary files

	Accept Accept
	Linger Linger
	Limits Limits
	Log    Log
	Status Status
	Send   Send
	Apps   []*App
	Sites  []*Site

	origin *origin // where each value was written; nil in a Config that was not loaded
}

// Listener is one listening socket.
type Listener struct {
	Network   string   // "tcp", "unix" or "systemd"
	Address   string   // host:port (host "" is every address), absolute path, or name
	Backlog   int      // length of the accept queue
	Mode      uint32   // permission bits of a unix socket; 0 for the others
	User      string   // owner of a unix socket; "" unchanged
	Group     string   // group of a unix socket; "" unchanged
	ProxyFrom []string // prefixes, or "unix", that must send a PROXY header
}

// Accept is [accept].
type Accept struct {
	Mode    string // none flock fcntl sysvsem posixsem pthread uslock partial exclusive reuseport
	Permits int    // 1 to 64 workers at once, for partial
	LockDir string // absolute; for flock and fcntl
}

// Linger is [linger].
type Linger struct {
	Mode  string        // off so_linger timed always adaptive
	Idle  time.Duration // between two reads, more than 0
	Total time.Duration // at least Idle
	Max   int           // connections that linger at once, at least 1
}

// Limits is [limits]. Sizes are bytes.
type Limits struct {
	Connections       int           // at least 1, for the whole worker
	AtLimit           string        // wait or refuse
	PerClient         int           // of one address; 0: no limit
	HeaderBytes       int64         // of the request line and all headers, at least 1
	HeaderTimeout     time.Duration // more than 0
	BodyBytes         int64         // at least 1
	BodyMemory        int64         // 0: every body goes to a file
	BodyRate          int64         // a second; 0: none
	ResponseMemory    int64         // at least 1
	ResponseBytes     int64         // of spool; 0: none
	KeepaliveIdle     time.Duration // 0: a connection is closed after each answer
	KeepaliveRequests int           // on one connection; 0: no limit
	SendTimeout       time.Duration // without progress, more than 0
	HalfClose         string        // abort or answer
	TrustedProxies    []string      // prefixes, or "unix"
}

// Log is [log].
type Log struct {
	Error  string        // "stderr" or an absolute path
	Level  string        // debug info warn error
	Access string        // "", "stdout" or an absolute path
	Format string        // common combined json
	Slow   time.Duration // requests that take longer are logged; 0: none
}

// Status is [status].
type Status struct {
	Listen     string // "" is off
	Extended   bool   // times of each request
	Scoreboard string // "memory" or an absolute path
}

// Send is [send].
type Send struct {
	Cache     int    // open descriptors kept; 0: none
	IOThreads int    // 1 to 1024
	IOQueue   int    // cold reads that wait
	ShedFile  string // absolute path; "" is none
	Shed      []byte // what is in it, once CheckFiles has looked
}

// Kinds of an App.
const (
	KindFastCGI = "fastcgi"
	KindCGI     = "cgi"
)

// App is one [[app]].
type App struct {
	Name              string    // unique: 1 to 64 letters, digits, "_", "-" or "."
	Kind              string    // KindFastCGI or KindCGI
	Command           []string  // program and arguments; the program is absolute, or without a slash and in PATH
	Address           []Address // of an app that sluice does not start; for fastcgi instead of Command
	ScriptRoot        string    // absolute in the file system of the application; "" is: the same as here
	Role              string    // responder authorizer filter
	Dir               string    // absolute; "" is: the folder of the program or script
	Env               map[string]string
	PassEnv           []string // names
	User              string   // name or number; "" is: as started
	Group             string   // name or number; "" is: the user's
	Umask             uint32   // permission bits, at most 0777
	Rlimit            Rlimit
	Scale             string        // static dynamic ondemand
	Min               int           // children, at most Max
	Max               int           // children, or CGI scripts at once; at least 1
	Spare             int           // idle children, at most Max
	Connections       int           // at once to one child, at least 1
	MaxRequests       int           // of one child; 0: no limit
	MaxAge            time.Duration // of one child; 0: no limit
	MaxMemory         int64         // bytes of one child; 0: no limit
	IdleTimeout       time.Duration // more than 0
	StartTimeout      time.Duration // more than 0
	ConnectTimeout    time.Duration // more than 0
	HeaderTimeout     time.Duration // to the end of the header block, more than 0
	HeaderBytes       int64         // of the header block, at least 1
	ReadTimeout       time.Duration // between two reads, more than 0
	RequestTimeout    time.Duration // whole request; 0: no limit
	StopSignal        string        // without SIG: TERM QUIT INT USR1 …
	StopGrace         time.Duration // 0: killed at once
	Queue             int           // waiting requests; 0: none waits
	QueueTimeout      time.Duration // 0: none waits
	Keepalive         bool          // to the child
	MaxConns          int           // for each Address, at least 1
	Balance           string        // least_conn round_robin hash random_two
	MaxFails          int           // 0: never taken out
	FailTimeout       time.Duration // more than 0
	PassAuthorization bool
	StderrRate        Rate          // lines
	LimitRate         int64         // bytes a second to each client; 0: no limit
	Release           string        // drain close detach
	ReleaseBytes      int64         // for drain
	ReleaseTimeout    time.Duration // for drain
	Background        time.Duration // of a CGI script after it closed its stdout
	SendFile          SendFile
}

// Address is one upstream of an app that sluice does not start itself.
type Address struct {
	Network string // "unix" or "tcp"
	Address string // absolute path or host:port
	Weight  int    // 1 unless given
}

// Rlimit is the rlimit table of an App; zero is: inherited.
type Rlimit struct {
	Memory    int64         // bytes of address space
	CPU       time.Duration // whole seconds
	Files     int64
	Processes int64
}

// Rate is a count in a time, such as 100/s.
type Rate struct {
	Count int           // 0: unlimited
	Per   time.Duration // a second, a minute or an hour
}

// SendFile is [app.send_file].
type SendFile struct {
	Headers       []string // canonical spelling; empty: off
	Roots         []string // absolute; empty: headers that name files are off
	DeleteRoots   []string // absolute
	Decode        bool     // percent-decode the value
	Symlinks      string   // beneath deny follow
	Reproxy       []string // URL prefixes with a path
	Type          string   // keep file default
	Precompressed bool
	OnComplete    string // path of a URL; "" is none
}

// Site is one [[site]].
type Site struct {
	Hosts          []string // lower case, "*." first for every subdomain, an IPv6 address without brackets; empty: the default site
	Root           string   // "" when nothing in the site needs it
	Index          []string // file names
	Fallback       string   // path of a URL; "" is none
	Dotfiles       string   // hide or show
	FollowSymlinks bool
	Types          map[string]string // ".ext" in lower case to media type
	Routes         []*Route
}

// Route is one [[site.route]].
type Route struct {
	Match          Match
	App            string            // name of an App; "" is none
	Dir            string            // absolute; only with App
	Script         string            // absolute; only with App, not with Dir
	Alias          string            // absolute, a folder or a file; not with App
	Static         bool              // also set by Alias
	Deny           bool              // 403
	Internal       bool              // 404 from outside
	Env            map[string]string // beats the App's
	Authorizer     string            // name of an App with that role; "" is none
	EncodedSlashes string            // refuse decode keep
	StreamBody     bool
	StreamResponse bool
	SecureLink     *SecureLink // nil is none
}

// Match is the parsed `match` of a Route.
type Match struct {
	Text   string // as written
	Exact  bool   // "= /path"
	Prefix string // "/" for "*.ext"; the whole path when Exact
	Ending string // ".ext", or ""
}

// SecureLink is secure_link of a Route.
type SecureLink struct {
	SecretFile string // absolute
	BindClient bool   // the address of the client is signed too
	Secret     []byte // what the file holds; nil until CheckFiles has read it
}
