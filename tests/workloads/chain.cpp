// chain_cpp DEPTH: main → graph::Node<int>::descend × DEPTH → graph::burn, in C++ with a namespace,
// a template and a virtual call, so that names must be demangled.

#include "common.h"

static volatile uint64_t sink;

namespace graph {

NOINLINE void burn() {
    ready();
    for (;;)
        sink = sink + spin(1000);
}

struct Step {
    virtual ~Step() = default;
    virtual uint64_t descend(uint64_t depth) = 0;
};

template <typename T> struct Node final : Step {
    NOINLINE uint64_t descend(uint64_t depth) override {
        if (depth == 1)
            burn();
        else
            descend(depth - 1);
        sink = sink + 1;
        return sink;
    }
};

} // namespace graph

int main(int argc, char **argv) {
    start();
    graph::Step *step = new graph::Node<int>;
    step->descend(strtoull(argc > 1 ? argv[1] : "10", nullptr, 10));
    delete step;
    return 0;
}
