/// The one source of the version; CMakeLists.txt reads these three lines.
#pragma once

#define MOEVIT_VERSION_MAJOR 0
#define MOEVIT_VERSION_MINOR 1
#define MOEVIT_VERSION_PATCH 0
