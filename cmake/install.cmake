# Install rules: headers, one export set per component, package config, pkg-config.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_directory ${CMAKE_INSTALL_DATADIR}/cmake/moevit)
install(DIRECTORY include/moevit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")

# One set per component, so that a program that asks for one never needs what another one links.
get_property(components GLOBAL PROPERTY MOEVIT_COMPONENTS)
foreach(component IN LISTS components)
  set(target moevit_${component})
  if(component STREQUAL moevit)
    set(target moevit)
  endif()
  install(TARGETS ${target} EXPORT moevit-${component})
  install(EXPORT moevit-${component} NAMESPACE moevit:: FILE moevit-${component}-targets.cmake
          DESTINATION ${package_directory})
endforeach()

configure_package_config_file(cmake/moevit-config.cmake.in moevit-config.cmake
                              INSTALL_DESTINATION ${package_directory})
set(architecture ARCH_INDEPENDENT)
if(TARGET moevit_compiled)
  set(architecture "")
endif()
write_basic_package_version_file(moevit-config-version.cmake COMPATIBILITY SameMinorVersion ${architecture})
configure_file(cmake/moevit.pc.in moevit.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/moevit-config.cmake" "${PROJECT_BINARY_DIR}/moevit-config-version.cmake"
              cmake/moevit-dependencies.cmake DESTINATION ${package_directory})
install(FILES "${PROJECT_BINARY_DIR}/moevit.pc" DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
