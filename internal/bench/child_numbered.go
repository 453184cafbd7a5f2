package main

import (
	"bytes"
	"fmt"
)

// numbered names another file for each number that requests have.
type numbered struct {
	replies []reply
	number  int
}

// newNumbered is nil for none.
func newNumbered(many int, head string) *numbered {
	if many == 0 {
		return nil
	}
	n := &numbered{}
	for i := range many {
		n.replies = append(n.replies, newReply(fmt.Sprintf(head, i)))
	}
	return n
}

// numberWord is in front of the number in a query.
var numberWord = []byte("file=")

// numberDigits is how many digits it has.
const numberDigits = 5

// read takes the number out of the parameters, if they have one.
func (n *numbered) read(params []byte) {
	at := bytes.Index(params, numberWord)
	if at < 0 || len(params) < at+len(numberWord)+numberDigits {
		return
	}
	n.number = 0
	for _, c := range params[at+len(numberWord):][:numberDigits] {
		n.number = 10*n.number + int(c-'0')
	}
}

// answer is the one for the number of the last request that had any.
func (n *numbered) answer() reply {
	if n.number < 0 || n.number >= len(n.replies) {
		return n.replies[0]
	}
	return n.replies[n.number]
}
