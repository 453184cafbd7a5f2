// Package tune measures the strategies of a server on this machine: how workers
// share the accepting of connections, and how connections are closed.
//
// Every setting is tried by a real server, which is this program started again,
// under a load from a process of its own. A run has several rounds; each visits
// every setting once, in an order that is another one each time, so that a change
// of the machine's speed hits all alike. Advice is given from the medians of the
// rounds, and only for a difference that the noise between the rounds does not
// explain (noise.go).
//
// One visit is in visit.go, the server in server.go, the load in load.go and
// clients.go. A Report is shown as text (text.go) or as a page (page.go).
package tune
