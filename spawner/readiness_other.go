//go:build !amd64

package spawner

func waitsHere(int) bool { return false }
