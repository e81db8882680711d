# For find_package(lstmcore CONFIG): the target lstmcore::lstmcore.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/lstmcoreTargets.cmake")
