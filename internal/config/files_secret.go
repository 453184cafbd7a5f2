package config

import (
	"fmt"
	"io/fs"
	"os"

	"sluice/internal/securelink"
)

// secret reads the secret of a route's signed links.
func (f *fileChecker) secret(r *Route) {
	l := r.SecureLink
	if l == nil {
		return
	}
	const key = "secure_link.secret_file"
	k, err := securelink.ReadKey(l.SecretFile)
	if err != nil {
		f.bad(&l.SecretFile, r, key, "%s: %s", quote(l.SecretFile), cause(err))
		return
	}
	if mode := permissions(l.SecretFile); mode&0o002 != 0 {
		f.bad(&l.SecretFile, r, key, "%s: others can write (mode %04o), so they could sign what they like", quote(l.SecretFile), mode)
		return
	}
	l.Secret = k
}

// permissions are those of a file; 0 where they cannot be seen.
func permissions(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// Exposed says which files with secrets others can read, each once, with the
// position of a key that names it.
func (c *Config) Exposed() []string {
	if c.origin == nil {
		return nil
	}
	var all []string
	seen := map[string]bool{}
	for _, s := range c.Sites {
		for _, r := range s.Routes {
			l := r.SecureLink
			if l == nil || seen[l.SecretFile] {
				continue
			}
			seen[l.SecretFile] = true
			if mode := permissions(l.SecretFile); mode&0o004 != 0 {
				at, path := c.origin.place(&l.SecretFile, r, "secure_link.secret_file")
				all = append(all, fmt.Sprintf("%s: %s: %s (mode %04o)", at, path, quote(l.SecretFile), mode))
			}
		}
	}
	return all
}
