package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	roleAuthorizer = 2
	roleFilter     = 3
)

// authorizeRecords answers an authorizer's request by the field X-Token:
//
//	NAME     allowed as that user
//	login    a local redirect to /login
//	die      dies, with half an answer that allows
//	bad      allows, and ends with a status of its own
//	hang     never answers
//	none     401
//
// It says no to a request for which it is told more than an authorizer is.
func authorizeRecords(c net.Conn, env map[string]string, body int) bool {
	for _, name := range []string{"CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME"} {
		if _, ok := env[name]; ok || body > 0 {
			endRecord(c, 3)
			return true
		}
	}
	token := env["HTTP_X_TOKEN"]
	switch token {
	case "":
		writeRecord(c, recStdout, "Status: 401 Unauthorized\r\nWWW-Authenticate: Token\r\nVariable-REMOTE_USER: nobody\r\n"+
			"X-Sendfile: /etc/passwd\r\nContent-Type: text/plain\r\n\r\nwho are you?\n")
	case "login":
		writeRecord(c, recStdout, "Location: /login\r\n\r\n")
	case "hang":
		time.Sleep(time.Hour)
	default:
		writeRecord(c, recStdout, "Status: 200\r\nSet-Cookie: of=authorizer\r\nVariable-REMOTE_USER: "+token+"\r\n"+
			"Variable-auth_type: Token\r\nVariable-GREETING: hello "+env["SCRIPT_FILENAME"]+"\r\nVariable-HTTP_PROXY: http://evil/\r\n"+
			"Variable-SCRIPT_FILENAME: /etc/passwd\r\nVariable-PATH: /evil\r\nVariable-LD_PRELOAD: evil.so\r\n\r\nnot for the client")
	}
	if token == "die" {
		die()
	}
	if token == "bad" {
		writeRecord(c, recEnd, string([]byte{0, 0, 0, 9, 0, 0, 0, 0}))
		return true
	}
	endRecord(c, 0)
	return true
}

// filterRecords says what a filter is told, and the data in capitals.
func filterRecords(c net.Conn, env map[string]string, stdin, data string) bool {
	writeRecord(c, recStdout, fmt.Sprintf("Content-Type: text/plain\r\n\r\npid=%d\nlength=%s of %d\nlast_mod=%s\nstdin=%s\nscript=%s info=%s\nuser=%s\n",
		os.Getpid(), env["FCGI_DATA_LENGTH"], len(data), env["FCGI_DATA_LAST_MOD"], stdin, env["SCRIPT_NAME"], env["PATH_INFO"], env["REMOTE_USER"]))
	for data = strings.ToUpper(data); data != ""; {
		n := min(len(data), 8000)
		if writeRecord(c, recStdout, data[:n]) != nil {
			return false
		}
		data = data[n:]
	}
	endRecord(c, 0)
	return true
}
