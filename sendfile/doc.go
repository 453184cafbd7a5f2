// Package sendfile answers a request with a file that an application named in a response header.
//
// The applications are CGI and FastCGI children, the headers are those of the X-Sendfile family, and the point is that
// the child has nothing more to do once it has named the file: it can be let go, and the file goes to the client by
// sendfile(2).
//
// # The way of one answer
//
//	order, steer, ok, err := sender.Take(h)   // h: the child's header; the whole family is out of it now, always
//	file, err := sender.Open(order)    // below a root, or *Error with the status for the client
//	err = sender.Reply(status).Serve(w, r, file)
//	file.Close()
//
// An order that means Slices is opened by OpenSlices and answered by ServeParts; one that means Temporary is opened by
// OpenTemporary, and Remove unlinks its file when Reply.Whole says that the client has all of it. OpenFor is Open for those
// whose files lie compressed beside the plain ones.
//
// Take says ok = false when no header acts: the child's own body is then the answer. An error of Take or Open is an
// *Error: its Status is for the client, its text is for the log and never for the client, since it names paths. An
// error of Serve means that the client did not get what its header promised: the caller aborts the connection so that
// the client can tell.
//
// # What may be opened
//
// Only regular files below one of the roots, by openat2(2), which makes the kernel hold the rule during the walk:
// there is no gap between a check and an open. A path outside every root is refused with 403 whether or not it exists.
// Linux 5.6 or newer is required. A root is looked up when a file is opened, so it may be created after New.
//
// # What people get wrong
//
//   - Stripping the header only when it acts. A header that does not act (feature off, status other than 200) then tells
//     every client where the files lie. Take and Strip remove the family always.
//   - Comparing prefixes as strings. "/srv/files2" is not below "/srv/files".
//   - Checking a path and then opening it. A symbolic link can change between the two.
//   - The file position. One descriptor may be sent to several clients at a time, so nothing here reads, moves or
//     trusts it: every read and every send names its offset.
//   - Treating the end of a shrinking file as the end of the answer. It is an error here.
//   - Guessing the type from the content. Content-Type comes from the child or from the file's name.
//
// # Zero copy
//
// The body leaves by sendfile only if the connection takes part. A connection's ReadFrom does this:
//
//	if c, n, ok := sendfile.Part(src); ok {
//		return c.SendTo(raw, n, progress)
//	}
//
// WrapConn is such a connection, ready for net/http. Header and body then are two segments. A connection that wants
// both in one sends the header with MSG_MORE right before SendTo; its ResponseWriter says so by HeaderJoiner, and is not
// flushed between the two.
package sendfile
