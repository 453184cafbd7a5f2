package sendfile

import "fmt"

// Symlinks says what happens at a symbolic link below a root. Links in the path of the root itself are always followed.
type Symlinks int

// The zero value is Beneath.
const (
	Beneath Symlinks = iota // a relative link is followed while it stays below the root; an absolute one is refused
	Deny                    // every link is refused
	Follow                  // links are followed wherever they lead; only the path as written must be below the root
)

var symlinksNames = [...]string{Beneath: "beneath", Deny: "deny", Follow: "follow"}

// String returns the word that ParseSymlinks takes.
func (s Symlinks) String() string { return word(symlinksNames[:], int(s)) }

// ParseSymlinks takes "beneath", "deny" or "follow".
func ParseSymlinks(s string) (Symlinks, error) {
	i, err := parseWord("symlinks", symlinksNames[:], s)
	return Symlinks(i), err
}

// TypePolicy says whose Content-Type a file gets. A type is never guessed from the content.
type TypePolicy int

// The zero value is TypeKeep.
const (
	TypeKeep    TypePolicy = iota // the child's; by file name if it said none
	TypeFile                      // by file name
	TypeDefault                   // by file name if the child said text/html (what PHP says unasked) or none
)

var typePolicyNames = [...]string{TypeKeep: "keep", TypeFile: "file", TypeDefault: "default"}

// String returns the word that ParseTypePolicy takes.
func (p TypePolicy) String() string { return word(typePolicyNames[:], int(p)) }

// ParseTypePolicy takes "keep", "file" or "default".
func ParseTypePolicy(s string) (TypePolicy, error) {
	i, err := parseWord("type", typePolicyNames[:], s)
	return TypePolicy(i), err
}

func word(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("unknown(%d)", i)
	}
	return names[i]
}

func parseWord(what string, names []string, s string) (int, error) {
	for i, n := range names {
		if n == s {
			return i, nil
		}
	}
	return 0, fmt.Errorf("parse %s: %q is not one of %q", what, s, names)
}
