/// Models, routing and inference. Needs Eigen and xsimd only; files and images are in moevit/io/.
#pragma once

#include <moevit/build_info.hpp>
#include <moevit/models/cvt.hpp>
#include <moevit/models/detector.hpp>
#include <moevit/models/packed.hpp>
#include <moevit/models/segmenter.hpp>
#include <moevit/models/swin.hpp>
#include <moevit/models/vit.hpp>
#include <moevit/models/vmoe.hpp>
#include <moevit/moe/losses.hpp>
#include <moevit/moe/noise.hpp>
#include <moevit/version.hpp>
