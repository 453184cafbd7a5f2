// It lets the package declare functions without a body: those of the runtime in reader.go.
