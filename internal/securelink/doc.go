// Package securelink signs links that hold until a time, for one client or for
// all, and tells a right signature from any other.
//
// A signed link has two parameters in its query, expires and sig. sig is the
// HMAC-SHA-256 (RFC 2104) of
//
//	PATH "\n" EXPIRES
//
// or, if the link is for one client alone, of
//
//	PATH "\n" EXPIRES "\n" CLIENT
//
// in base64url without padding (RFC 4648 section 5), 43 characters. PATH is the
// path of the URL as routes are matched with it: percent-decoded once, dot
// segments and doubled slashes removed. So all spellings of a path have one
// signature. EXPIRES is the last second in which the link is good, in Unix time
// and decimal, without a sign or leading zeros. CLIENT is the client's address: IPv4
// dotted, IPv6 as in RFC 5952, an IPv4 address in IPv6 as the former. EXPIRES has
// digits alone, which no address has, so a message is read in one way only,
// whatever the path holds.
//
// Neither the host, nor the method, nor anything else in the query is signed.
//
// What people get wrong: comparing with ==, which tells by its time how much of a
// guess was right; answering "expired" before the signature has been looked at,
// which tells a guesser something; and taking the first of two parameters where
// whoever comes next takes the second.
package securelink
