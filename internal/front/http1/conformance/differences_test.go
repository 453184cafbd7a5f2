package conformance

// difference names a behaviour in which our server is meant to differ.
type difference string

// The text of each is the reason; the tests ask by the name.
const (
	headerTimeoutAnswer difference = "a head that takes too long is answered by 408, as nginx and Apache do: net/http closes without a word"
	longLine            difference = "a request line past 16 KiB is 414, as RFC 9112 section 3 asks: net/http knows only 431"
	lengthAndCoding     difference = "Content-Length beside Transfer-Encoding is 400, as smuggling needs the two to disagree (RFC 9112 section 6.3): net/http ignores the length"
	codingIn10          difference = "Transfer-Encoding in HTTP/1.0 is 400, since older software does not see that body (RFC 9112 section 6.1): net/http ignores the coding"
	repeatedLength      difference = "a repeated Content-Length is 400, also when both say the same: net/http takes them for one"
	folding             difference = "a folded line is 400, as RFC 9112 section 5.2 allows: net/http joins it"
	bareCR              difference = "a CR without LF is 400 wherever it stands (RFC 9112 section 2.2): net/http lets it end a line in places"
	otherVersion        difference = "the preface of HTTP/2 is 505: net/http lets a handler take over the connection"
	closeWins           difference = "close beats keep-alive in one Connection field (RFC 9112 section 9.3): net/http keeps such a connection of HTTP/1.0"
	unwantedBody        difference = "a body that the client holds back for 100 Continue is not waited for once the answer is out: net/http reads on until its client goes"
	lastLine            difference = "the line behind the last chunk ends with CR LF, as RFC 9112 section 7.1 says: net/http takes a bare LF if more follows"
	trailers            difference = "trailers are neither read nor sent: net/http does both for who asks for it"
	badLength           difference = "a Content-Length of a handler that is none counts as none: net/http then does not count the body"
	ownCoding           difference = "the coding of an answer is the connection's to choose: net/http sends the handler's"
	usedAgain           difference = "a request, its header and its writer are used again after the handler's return, so that nobody may have them still but who watches the request's context, as http.TimeoutHandler does: net/http makes new ones"
	closeSaid           difference = "close is said to who asked for keep-alive in HTTP/1.0: net/http just closes"
	badCoding           difference = "a Transfer-Encoding that breaks the grammar is 400: net/http calls it unknown, 501"
	connectHost         difference = "CONNECT without Host is 400, as any request of HTTP/1.1 (RFC 9112 section 3.2): net/http lets it pass"
	starForm            difference = "* is a target for OPTIONS only (RFC 9112 section 3.2.4): net/http takes it for any method"
	unknownRest         difference = "a chunked body that nobody read is looked at behind the answer, which so cannot announce the close: net/http reads up to 256 KiB before"
	exceeded            difference = "a body past http.MaxBytesReader whose rest is short is read past: net/http has a way between the two to close"
	refusalText         difference = "a refusal has a text"
	readOn              difference = "a read deadline that is over may be moved, and reading goes on: net/http keeps the error of a chunked body"
	bareAbsolute        difference = "OPTIONS http://host is for the server as a whole, as * is (RFC 9112 section 3.2.4): net/http asks the handler"
	hostPort            difference = "a Host whose port is no number is 400, as any invalid one (RFC 9112 section 3.2): net/http looks at single bytes"
	firstRequest        difference = "a Shutdown lets the first request come for a second, and answers it: net/http waits for five, and then closes"
	serverKey           difference = "the context has no http.ServerContextKey: there is no http.Server"
)

// differs reports whether a test is to expect our way.
func (m mode) differs(difference) bool { return !m.library() }
