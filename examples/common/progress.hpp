/// A progress bar on a terminal.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <string>
#include <utility>

#include <unistd.h>

namespace examples {

/// Draws on standard error, at most ten times a second, and only when that is a terminal. Gone when it is destroyed.
class Progress {
 public:
  Progress(std::string what, std::ptrdiff_t total)
      : what_(std::move(what)), total_(std::max<std::ptrdiff_t>(total, 1)) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void advance(std::ptrdiff_t steps) {
    done_ += steps;
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now - drawn_at_ < std::chrono::milliseconds(100)) return;
    drawn_at_ = now;
    draw();
  }

  /// Takes the bar away, so that something else can be written.
  void clear() {
    if (visible_) std::cerr << "\r\033[K" << std::flush;
    visible_ = false;
  }

 private:
  void draw() {
    constexpr std::ptrdiff_t width = 32;
    const std::ptrdiff_t filled = width * done_ / total_;
    std::cerr << "\r\033[K" << what_ << " [";
    for (std::ptrdiff_t i = 0; i < width; ++i) std::cerr << (i < filled ? '#' : '.');
    std::cerr << "] " << done_ << '/' << total_ << std::flush;
    visible_ = true;
  }

  std::string what_;
  std::ptrdiff_t total_;
  std::ptrdiff_t done_ = 0;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool visible_ = false;
  std::chrono::steady_clock::time_point drawn_at_{};
};

}  // namespace examples
