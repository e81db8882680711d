// The CPU's marketing name, for reports.
#pragma once

#include <string>

namespace lstmcore {
namespace python {

std::string cpu_name();

}  // namespace python
}  // namespace lstmcore
