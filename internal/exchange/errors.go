package exchange

import (
	"fmt"
	"log/slog"
	"net/http"
)

// Kind is what went wrong with an exchange. It decides the status that the
// client gets and whose fault the log says it was.
type Kind uint8

// The kinds.
const (
	ClientGone Kind = iota + 1
	BodyTooLarge
	BodyBroken
	BodyTimeout
	SpoolFailed
	BadParams
	QueueFull
	NoChild
	NotReached
	Forbidden
	CannotStart
	BadHeader
	Died
	HeaderTimeout
	Stalled
	RequestTimeout
	Overloaded
	UnknownRole
	ProtocolStatus
	BadSendFile
	FileRefused
	FileMissing
	FileBroken
	FileBusy
	FileShed
	NoStore
	StoreBroken
	SendFailed
)

// kinds is the whole policy: one row per kind.
var kinds = [...]struct {
	name   string
	status int // 499 is never sent: the client has gone; it is for the log
	level  slog.Level
}{
	ClientGone:     {"client left", 499, slog.LevelInfo},
	BodyTooLarge:   {"request body too large", http.StatusRequestEntityTooLarge, slog.LevelInfo},
	BodyBroken:     {"request body broken", http.StatusBadRequest, slog.LevelInfo},
	BodyTimeout:    {"request body too slow", http.StatusRequestTimeout, slog.LevelInfo},
	SpoolFailed:    {"body could not be stored", http.StatusInternalServerError, slog.LevelError},
	BadParams:      {"meta-variables could not be mapped", http.StatusInternalServerError, slog.LevelError},
	QueueFull:      {"no child free", http.StatusServiceUnavailable, slog.LevelWarn},
	NoChild:        {"no child", http.StatusServiceUnavailable, slog.LevelWarn},
	NotReached:     {"child not reached", http.StatusBadGateway, slog.LevelWarn},
	Forbidden:      {"script may not be executed", http.StatusForbidden, slog.LevelWarn},
	CannotStart:    {"script could not be started", http.StatusBadGateway, slog.LevelWarn},
	BadHeader:      {"bad header from child", http.StatusBadGateway, slog.LevelWarn},
	Died:           {"child died", http.StatusBadGateway, slog.LevelWarn},
	HeaderTimeout:  {"no header from child", http.StatusGatewayTimeout, slog.LevelWarn},
	Stalled:        {"child stalled", http.StatusGatewayTimeout, slog.LevelWarn},
	RequestTimeout: {"request took too long", http.StatusGatewayTimeout, slog.LevelWarn},
	Overloaded:     {"child refused the request", http.StatusServiceUnavailable, slog.LevelWarn},
	UnknownRole:    {"child does not know the role", http.StatusInternalServerError, slog.LevelWarn},
	ProtocolStatus: {"child did not do the request", http.StatusBadGateway, slog.LevelWarn},
	BadSendFile:    {"bad send-file header", http.StatusBadGateway, slog.LevelWarn},
	FileRefused:    {"file refused", http.StatusForbidden, slog.LevelWarn},
	FileMissing:    {"file missing", http.StatusNotFound, slog.LevelWarn},
	FileBroken:     {"file could not be read", http.StatusInternalServerError, slog.LevelError},
	FileBusy:       {"file could not be opened now", http.StatusServiceUnavailable, slog.LevelError},
	FileShed:       {"too many reads wait for the disk", http.StatusServiceUnavailable, slog.LevelWarn},
	NoStore:        {"no store answered", http.StatusServiceUnavailable, slog.LevelWarn},
	StoreBroken:    {"store broke off", http.StatusBadGateway, slog.LevelWarn},
	SendFailed:     {"answer could not be sent", 499, slog.LevelInfo},
}

func (k Kind) String() string { return kinds[k].name }

// Status is what the client gets.
func (k Kind) Status() int { return kinds[k].status }

// Level is whose fault it was: the client's is info, a child's warn, ours
// error.
func (k Kind) Level() slog.Level { return kinds[k].level }

// Error is an exchange that failed.
type Error struct {
	Kind Kind
	PID  int // the child; 0: none was involved, or it runs elsewhere
	// Address is where a child listens that runs elsewhere.
	Address string
	// Started says that a part of the answer may have reached the client: all
	// that can be done is to end the connection so that it can tell.
	Started bool
	// RetryAfter is for the Retry-After field of a 503, in seconds.
	RetryAfter int
	Err        error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Kind.String()
	}
	return fmt.Sprintf("%s: %v", e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
