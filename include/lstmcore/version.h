// The one place that holds the version: CMake, the wheel's metadata and lstmcore.__version__ read it here.
#pragma once

#define LSTMCORE_VERSION "0.1.0"
