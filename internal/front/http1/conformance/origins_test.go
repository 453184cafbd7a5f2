package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Why a test of net/http's has no counterpart.
const (
	noMux      = "- routing and http.Handler helpers, which stay net/http's"
	noTimeouts = "- http.TimeoutHandler, which stays net/http's"
	noTLS      = "- TLS and HTTP/2"
	noServer   = "- http.Server's own interface: listeners, hooks, states"
	noClient   = "- the client's side"
	noWhole    = "- limits of a whole request or answer, which there are not: there are those without progress"
	wireOwn    = "- tested in wire, next to the code"
)

// origins says which tests here stand for net/http's own: of serve_test.go,
// responsecontroller_test.go, readrequest_test.go and transfer_test.go.
const origins = `
ConsumingBodyOnNextConn: UnreadBody
HostHandlers ServeMuxHandler ServeMuxHandlerTrailingSlash ServeMuxHandleFuncWithNilHandler ServeMuxHandlerRedirects: ` + noMux + `
ServeMuxHandlerRedirectPost MuxRedirectLeadingSlashes ServeWithSlashRedirectKeepsQueryString: ` + noMux + `
ServeWithSlashRedirectForHostPatterns MuxNoSlashRedirectWithTrailingSlash MuxNoSlash405WithTrailingSlash: ` + noMux + `
ShouldRedirectConcurrency RedirectBadPath RedirectEscapedPath Redirect RedirectContentTypeAndBody StripPrefix: ` + noMux + `
StripPrefixNotModifyRequest MuxRedirectRelative QuerySemicolon ParseFormCleanup Error StripPortFromHost: ` + noMux + `
ServerTimeouts: HeaderTimeout HeaderTimeoutDripping SendTimeout
ServerReadHeaderTimeoutIsCleared ServerCancelsReadHeaderTimeoutWhenIdle ServerCancelsReadTimeoutWhenIdle: HeaderTimeoutEnds
ServerReadTimeout ServerNoReadTimeout ServerWriteTimeout ServerNoWriteTimeout WriteDeadlineExtendedOnNewRequest: ` + noWhole + `
WriteDeadlineEnforcedPerStream NoWriteDeadline ServerKeepAliveAfterWriteError RequestBodyTimeoutClosesConnection: ` + noWhole + `
OnlyWriteTimeout: SendTimeout
IdentityResponse: Framing
ServeHTTP10Close ClientCanClose HandlersCanSetConnectionClose11 HandlersCanSetConnectionClose10: Keepalive
HTTP2UpgradeClosesConnection ServerHandlersCanHandleH2PRI: Refused
HTTP10KeepAlive204Response HTTP11KeepAlive204Response HTTP10KeepAlive304Response: Bodyless
KeepAliveFinalChunkWithEOF FinalChunkedBodyReadEOF: BodyEnd
SetsRemoteAddr ServerAllowsBlockingRemoteAddr: RequestFields KeptAddress
HeadResponses HeadReaderFrom HeadBody GetBody: Bodyless
TLSHandshakeTimeout TLSServer TLSServerWithoutTLSConn ServeTLS TLSServerRejectHTTPRequests: ` + noTLS + `
AutomaticHTTP2_Serve_NoTLSConfig AutomaticHTTP2_Serve_NonH2TLSConfig AutomaticHTTP2_Serve_H2TLSConfig: ` + noTLS + `
AutomaticHTTP2_Serve_WithTLSConfig AutomaticHTTP2_ListenAndServe AutomaticHTTP2_ListenAndServe_GetCertificate: ` + noTLS + `
AutomaticHTTP2_ListenAndServe_GetConfigForClient ServerUnencryptedHTTP2HeaderTimeout ServerTLSNextProtos Issue58237: ` + noTLS + `
ServerExpect Issue13893_Expect100 Issue11549_Expect100: Expect ExpectWaits ExpectImpatient
ServerReadAfterWriteHeader100Continue ServerReadAfterHandlerDone100Continue ServerReadAfterHandlerAbort100Continue: Expect
ServerUnreadRequestBodyLittle: UnreadBody
ServerUnreadRequestBodyLarge HandlerFinishSkipBigContentLengthRead: LargeUnreadBody UnsentBody
HandlerBodyClose: UnreadBody BodyAfter
RequestBodyReadErrorClosesConnection InvalidTrailerClosesConnection InvalidChunkedBodies BodyReadBadTrailer: BrokenBody
TimeoutHandler TimeoutHandlerRace TimeoutHandlerRaceHeader TimeoutHandlerRaceHeaderTimeout: ` + noTimeouts + `
TimeoutHandlerStartTimerWhenServing TimeoutHandlerContextCanceled TimeoutHandlerEmptyResponse: ` + noTimeouts + `
TimeoutHandlerPanicRecovery TimeoutHandlerSuperfluousLogs: ` + noTimeouts + `
ZeroLengthPostAndResponse ContentLengthZero: RequestLength Framing
HandlerPanicNil HandlerPanic HandlerPanicWithHijack: Panic PanicInBody
ServerWriteHijackZeroBytes WriteAfterHijack DoubleHijack: Hijack AfterHijack
ServerNoDate ServerContentType ContentEncodingNoSniffing: AnswerFields Date
RequestLimit: Refused
RequestBodyLimit MaxBytesHandler: MaxBytes
ClientWriteShutdown: LeaveInHead HalfClose
ServerBufferedChunking: Framing
ServerGracefulClose: LargeUnreadBody
CaseSensitiveMethod: Target
CloseNotifier CloseNotifierPipelined CloseNotifierChanLeak HijackAfterCloseNotifier: Leave PipelineWaits
HijackBeforeRequestBodyRead: HijackBeforeBody
Options OptionsHandler: Target Keepalive
HeaderToWire: WriteHeader AnswerFields
AcceptMaxFds: ` + noServer + `
HTTP10ConnectionHeader: Keepalive
ServerReaderFromOrder: ReadWhileWriting File
CodesPreventingContentTypeAndBody ContentTypeOkayOn204: Bodyless
TransportAndServerSharedBodyRace RequestBodyCloseDoesntBlock: CloseWhileReading
ResponseWriterWriteString: WriteString
ServerConnState ServerConnStateNew ServerCloseDeadlock ServerListenNotComparableListener ServerCloseListenerOnce: ` + noServer + `
ConcurrentServerServe ServerShutdownThenServe ServerContexts ConnContextNotModifyingAllContexts: ` + noServer + `
ServerKeepAlivesEnabledResultClose ServerSetKeepAlivesEnabledClosesConns ServerKeepAlivesEnabled: KeepaliveOff
ServerEmptyBodyRace ServerDuplicateBackgroundRead: Concurrent Stress
CloseWrite: ` + noClient + `
ServerFlushAndHijack: FlushAndHijack
NoContentLengthIfTransferEncoding HandlerSetTransferEncodingGzip: AnswerFields
TolerateCRLFBeforeRequestLine: EmptyLines
HandlerSetsBodyNil: UnreadBody
ServerValidatesHostHeader: Hosts Refused
ServerValidatesHeaders ServerValidatesMethod UnsupportedTransferEncodingsReturn501: Refused
ServerRequestContextCancel_ServeHTTPDone: Stay
ServerRequestContextCancel_ConnClose: Leave
ServerContext_ServerContextKey ServerContext_LocalAddrContextKey: ContextValues
HandlerSetTransferEncodingChunked: Framing
ServerIdleTimeout: IdleTimeout SilentConnection AfterPause
ServerShutdown: Shutdown ShutdownTimeout ShutdownUnderLoad ShutdownWithinRequest
ServerShutdownStateNew: ShutdownSilent
ServerHijackGetsBackgroundByte: HijackLateInput
ServerHijackGetsFullBody ServerHijackGetsBackgroundByte_big: HijackKeepsInput
DisableKeepAliveUpgrade WriteHeaderSwitchingProtocols: SwitchingProtocols
EarlyHints Processing: Informational InformationalAtOnce
DisableContentLength: Framing
ErrorContentLength: WriteHeader
ResponseControllerFlush: Flush
ResponseControllerHijack: Hijack
ResponseControllerSetPastWriteDeadline: PastWriteDeadline
ResponseControllerSetFutureWriteDeadline: WriteDeadline DeadlinesEnd
ResponseControllerSetPastReadDeadline ResponseControllerSetFutureReadDeadline: ReadDeadline
WrappedResponseController: Controller
ResponseControllerEnableFullDuplex: FullDuplex
ReadRequest ReadRequest_Bad ParseTransferEncoding ParseContentLength: ` + wireOwn + `
DetectInMemoryReaders TransferWriterWriteBodyReaderTypes: ` + noClient + `
`

// testsIn are the names of the tests in Go files, without Test.
func testsIn(t *testing.T, files ...string) map[string]bool {
	found := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				if test, ok := strings.CutPrefix(fn.Name.Name, "Test"); ok && test != "Main" {
					found[test] = true
				}
			}
		}
	}
	return found
}

// The table of origins names tests that exist, and all of net/http's of the Go
// version that it was made for.
func TestOrigins(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	ours := testsIn(t, files...)
	listed := map[string]bool{}
	for line := range strings.Lines(origins) {
		theirs, here, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		for name := range strings.FieldsSeq(theirs) {
			if listed[name] {
				t.Errorf("%s is there twice", name)
			}
			listed[name] = true
		}
		for name := range strings.FieldsSeq(here) {
			if here[0] != '-' && !ours[name] {
				t.Errorf("there is no Test%s", name)
			}
		}
	}
	const made = "go1.26"
	dir := filepath.Join(runtime.GOROOT(), "src/net/http")
	if _, err := os.Stat(filepath.Join(dir, "serve_test.go")); err != nil || !strings.HasPrefix(runtime.Version(), made) {
		t.Logf("not compared with net/http's: %s, %v", runtime.Version(), err)
		return
	}
	theirs := testsIn(t, filepath.Join(dir, "serve_test.go"), filepath.Join(dir, "responsecontroller_test.go"),
		filepath.Join(dir, "readrequest_test.go"), filepath.Join(dir, "transfer_test.go"))
	for name := range theirs {
		if !listed[name] {
			t.Errorf("net/http's Test%s is missing", name)
		}
	}
	for name := range listed {
		if !theirs[name] {
			t.Errorf("net/http has no Test%s", name)
		}
	}
}
