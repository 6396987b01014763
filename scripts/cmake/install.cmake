# Installs what a user of the library needs, and the package that find_package(attnrt) finds.
include(CMakePackageConfigHelpers)

set(ATTNRT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/attnrt)

install(TARGETS attnrt EXPORT attnrtTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/attnrt DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT attnrtTargets NAMESPACE attnrt:: DESTINATION ${ATTNRT_PACKAGE_DIR})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/attnrtConfig.cmake.in attnrtConfig.cmake
                              INSTALL_DESTINATION ${ATTNRT_PACKAGE_DIR})
# Before 1.0 a minor version may change the API.
write_basic_package_version_file(attnrtConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/attnrtConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/attnrtConfigVersion.cmake
        DESTINATION ${ATTNRT_PACKAGE_DIR})

# A backend that programs look for beside themselves and where the system looks.
if(TARGET attnrt_cuda)
  install(TARGETS attnrt_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

if(TARGET attnrt-perf)
  install(TARGETS attnrt-perf RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
