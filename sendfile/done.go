//go:build !race

package sendfile

import "sync/atomic"

// finish says that the job is done. Whoever learns of that by another's event sees its result, too.
//
//go:nosplit
func (j *job) finish() { atomic.StoreUint32(&j.done, 1) }

// take reports whether the thread has done its job, once.
func (r *reader) take() bool { return atomic.SwapUint32(&r.done, 0) == 1 }
