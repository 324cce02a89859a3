// chain_go DEPTH: main.main → main.descend × DEPTH → main.burn, on the main goroutine.
package main

import (
	"fmt"
	"os"
	"strconv"
)

var sink uint64

// A local array gives the leaf a frame: Go keeps no frame pointer in functions without one.
//
//go:noinline
func burn() {
	fmt.Println("ready")
	var words [32]uint64
	for i := uint64(0); ; i++ {
		words[i%32] += i
		sink += words[(i*7)%32]
	}
}

//go:noinline
func descend(depth uint64) uint64 {
	if depth == 1 {
		burn()
	} else {
		descend(depth - 1)
	}
	sink++
	return sink
}

func main() {
	depth := uint64(10)
	if len(os.Args) > 1 {
		depth, _ = strconv.ParseUint(os.Args[1], 10, 64)
	}
	descend(depth)
}
