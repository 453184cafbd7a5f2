//go:build race

package sendfile

// The race detector's atomic operations want what a thread outside of the scheduler does not have.

//go:nosplit
//go:norace
func (j *job) finish() { j.done = 1 }

//go:norace
func (r *reader) take() bool {
	done := r.done == 1
	r.done = 0
	return done
}
