# sluice: `make demo` needs Go alone; `make test` and `make bench` install what
# they need from Debian's packages when run as root.

GO ?= go
DEMO_LISTEN ?= 127.0.0.1:8080
BENCH_ARGS ?=
FUZZTIME ?= 20s
PROPERTY_TIME ?= 10m

# What the tests run: real applications, the programs that drive them, and a C
# compiler for the race detector.
TEST_PACKAGES = php-cgi php-fpm perl libfcgi-perl libcgi-pm-perl gitweb git dokuwiki php-xml curl strace procps openssl python3-minimal wrk gcc libc6-dev systemd
BENCH_PACKAGES = $(TEST_PACKAGES) nginx lighttpd apache2 fcgiwrap

.PHONY: build demo test check bench faults reloads property fuzz clean

build: bin/sluice

bin/sluice: $(shell find . -name '*.go' -o -name 'go.*' -o -path './testdata/demo/*' -type f)
	CGO_ENABLED=0 $(GO) build -buildvcs=auto -o $@ ./cmd/sluice

demo: build
	bin/sluice demo --listen $(DEMO_LISTEN)

check:
	@bad=$$(gofmt -l .); [ -z "$$bad" ] || { echo "not gofmt-ed:"; echo "$$bad"; exit 1; }
	$(GO) vet ./... ./testdata/demo

# One package at a time: they test what happens within milliseconds.
test: check
	@.ci/install $(TEST_PACKAGES)
	$(GO) test -race -p 1 -timeout 20m ./...

# sluice beside its peers: docs/bench.md. About twenty minutes on an idle
# machine; BENCH_ARGS are more flags, of which the last counts:
#	make bench BENCH_ARGS="-only fastcgi,idle -servers sluice,nginx -rounds 9 -markdown /tmp/b.md"
# `go run ./internal/bench -h` names the scenarios and the servers.
bench:
	@.ci/install $(BENCH_PACKAGES)
	$(GO) run ./internal/bench -markdown docs/bench.md $(BENCH_ARGS)

# What clients see when children are killed, recycled, restarted: docs/faults.md.
faults:
	@.ci/install $(BENCH_PACKAGES)
	$(GO) run ./internal/bench -faults -duration 10s -markdown docs/faults.md $(BENCH_ARGS)

# What clients see when the configuration changes, beside nginx and lighttpd:
# docs/reloads.md.
reloads:
	@.ci/install $(BENCH_PACKAGES)
	$(GO) run ./internal/bench -reloads -markdown docs/reloads.md $(BENCH_ARGS)

# Random changes, kills and reloads under load, for PROPERTY_TIME (`make test` does
# it for some seconds). What fails says its seed: -property.seed.
property:
	$(GO) test -race ./cmd/sluice -run 'TestProperty$$' -v -timeout 0 -args -property.time=$(PROPERTY_TIME)

# Each fuzz target for FUZZTIME.
fuzz:
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$p || exit 1; \
		done; \
	done

clean:
	rm -rf bin
