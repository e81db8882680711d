// What main.cpp runs.
#pragma once

namespace lstmcore {
namespace bench {

void register_layers(int threads);
void register_parts(int threads);

}  // namespace bench
}  // namespace lstmcore
