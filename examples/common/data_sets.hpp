/// What models are told of the data sets that the programs here know.
#pragma once

#include <moevit/core/preprocessing.hpp>

#include <string>
#include <vector>

namespace examples {

/// Means and deviations are those of the training images, from 0 to 1.
inline const moevit::Preprocessing fashion_preprocessing{
    .height = 28, .width = 28, .channels = 1, .mean = {0.2860f}, .deviation = {0.3530f}};
inline const std::vector<std::string> fashion_classes{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                                      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

inline const moevit::Preprocessing cifar_preprocessing{.height = 32,
                                                       .width = 32,
                                                       .channels = 3,
                                                       .mean = {0.4914f, 0.4822f, 0.4465f},
                                                       .deviation = {0.2470f, 0.2435f, 0.2616f}};

/// The images are 64 pixels wide; the models here take them at half that.
inline const moevit::Preprocessing tiny_imagenet_preprocessing{.height = 32,
                                                               .width = 32,
                                                               .channels = 3,
                                                               .mean = {0.4802f, 0.4481f, 0.3975f},
                                                               .deviation = {0.2770f, 0.2691f, 0.2821f}};

}  // namespace examples
