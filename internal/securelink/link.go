package securelink

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strconv"
)

// The parameters of a signed link.
const (
	expiresParam = "expires"
	sigParam     = "sig"
)

// Link is what is signed.
type Link struct {
	Path    string     // decoded and cleaned
	Expires int64      // the last second that it is good in, Unix time
	Client  netip.Addr // the zero Addr: it is for everybody
}

// Query is the two parameters of the link's URL, to be added to its query.
func (k Key) Query(l Link) string {
	expires := strconv.FormatInt(l.Expires, 10)
	return expiresParam + "=" + expires + "&" + sigParam + "=" + string(k.sign(l.Path, expires, l.Client))
}

// sign is the signature as it stands in a URL.
func (k Key) sign(path, expires string, client netip.Addr) []byte {
	message := make([]byte, 0, len(path)+len(expires)+50)
	message = append(message, path...)
	message = append(message, '\n')
	message = append(message, expires...)
	if client.IsValid() {
		message = append(message, '\n')
		message = canonical(client).AppendTo(message)
	}
	mac := hmac.New(sha256.New, k)
	mac.Write(message)
	return base64.RawURLEncoding.AppendEncode(nil, mac.Sum(nil))
}

// canonical is the one form of an address. A zone means something on one host
// only.
func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
