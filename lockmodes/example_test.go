package lockmodes_test

import (
	"fmt"

	"sluice/lockmodes"
)

// Whoever starts the processes makes what they share, and each opens it.
func Example() {
	o := lockmodes.Options{Mode: lockmodes.Partial, Permits: 2}
	shared, err := lockmodes.Create(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer shared.Close()
	var locks []lockmodes.Lock
	for place := 1; place <= 3; place++ {
		file, err := shared.File() // goes to a process, in ProcAttr.Files or exec.Cmd.ExtraFiles
		if err != nil {
			fmt.Println(err)
			return
		}
		l, err := lockmodes.Open(o, file, place) // there
		if err != nil {
			fmt.Println(err)
			return
		}
		defer l.Close()
		locks = append(locks, l)
	}
	for i, l := range locks {
		fmt.Println(i+1, "accepts:", l.TryLock())
	}
	// The first process is killed, and whoever started it has reaped it.
	shared.Clear(1)
	fmt.Println(3, "accepts:", locks[2].TryLock())

	// Output:
	// 1 accepts: true
	// 2 accepts: true
	// 3 accepts: false
	// 3 accepts: true
}
