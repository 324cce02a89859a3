// chain_cgo DEPTH: main.main → main.descend × DEPTH → Go's way to C → leaf, on the main goroutine.
package main

/*
#include <stdint.h>

static volatile uint64_t sink;

__attribute__((noinline, noipa)) void leaf(void) {
    for (uint64_t i = 0; i < 100000000; i++)
        sink += i;
}
*/
import "C"

import (
	"fmt"
	"os"
	"strconv"
)

var sink uint64

//go:noinline
func descend(depth uint64) uint64 {
	if depth == 1 {
		for {
			C.leaf()
		}
	}
	descend(depth - 1)
	sink++
	return sink
}

func main() {
	depth := uint64(10)
	if len(os.Args) > 1 {
		depth, _ = strconv.ParseUint(os.Args[1], 10, 64)
	}
	fmt.Println("ready")
	descend(depth)
}
