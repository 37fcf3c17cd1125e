/// Shows how far a training run is: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <moevit/io/system.hpp>
#include <moevit/train/training_monitor.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

namespace moevit {

/// What a progress line says.
struct ProgressNumbers {
  Index step = 0;
  Index steps = 0;
  double loss = 0;
  double steps_per_second = 0;  ///< 0: not known yet
};

/// "1h02m", "3m07s" or "12s".
inline std::string short_time(double seconds) {
  const long long whole = static_cast<long long>(std::clamp(seconds, 0., 1e15) + 0.5);
  const long long hours = whole / 3600, minutes = whole / 60 % 60;
  char text[40];
  if (hours > 0)
    std::snprintf(text, sizeof text, "%lldh%02lldm", hours, minutes);
  else if (minutes > 0)
    std::snprintf(text, sizeof text, "%lldm%02llds", minutes, whole % 60);
  else
    std::snprintf(text, sizeof text, "%llds", whole);
  return text;
}

/// "step 120/1000, loss 1.2345, 8.1 steps/s, 1m49s left".
inline std::string progress_text(const ProgressNumbers& numbers) {
  char text[160];
  std::snprintf(text, sizeof text, "step %lld/%lld, loss %.4f", static_cast<long long>(numbers.step),
                static_cast<long long>(numbers.steps), numbers.loss);
  std::string line = text;
  if (numbers.steps_per_second <= 0) return line;
  std::snprintf(text, sizeof text, ", %.*f steps/s, ", numbers.steps_per_second < 10 ? 2 : 0, numbers.steps_per_second);
  return line + text + short_time(static_cast<double>(numbers.steps - numbers.step) / numbers.steps_per_second) +
         " left";
}

/// "[#####...............]", `width` characters between the brackets.
inline std::string progress_bar(Index step, Index steps, Index width) {
  const Index filled = steps > 0 ? width * std::clamp<Index>(step, 0, steps) / steps : width;
  return "[" + std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(width - filled), '.') + "]";
}

/// Writes to a stream while a run goes on. On a terminal: one line that is drawn again at most ten times a second;
/// elsewhere a line per entry of the log. Evaluations are lines in both.
class ProgressBar : public TrainingMonitor {
  using Clock = std::chrono::steady_clock;

 public:
  /// `stream` must live on.
  explicit ProgressBar(std::FILE* stream = stderr) : stream_(stream), is_terminal_(detail::is_terminal(stream)) {}

  void started(Index step, Index steps) override {
    first_ = step, steps_ = steps, start_ = drawn_ = Clock::now();
    if (step > 0) write_line("goes on behind step " + std::to_string(step) + " of " + std::to_string(steps));
  }
  void step_done(const StepReport& report) override {
    loss_ = loss_ == 0 ? report.loss : 0.9 * loss_ + 0.1 * report.loss;
    if (!is_terminal_ || Clock::now() - drawn_ < std::chrono::milliseconds(100)) return;
    drawn_ = Clock::now();
    std::fprintf(stream_, "\r\033[K%s %s", progress_bar(report.step, steps_, 24).c_str(),
                 progress_text(numbers(report.step, loss_)).c_str());
    std::fflush(stream_);
  }
  void logged(const TrainingEntry& entry) override {
    if (!is_terminal_) write_line(progress_text(numbers(entry.step, entry.loss)));
  }
  void evaluated(const EvaluationEntry& entry) override {
    char text[160];
    std::snprintf(text, sizeof text, "step %lld/%lld, validation: loss %.4f, accuracy %.2f%%%s",
                  static_cast<long long>(entry.step), static_cast<long long>(steps_), entry.loss, 100 * entry.accuracy,
                  entry.is_best ? ", the best so far" : "");
    write_line(text);
  }
  void finished(Index step) override {
    write_line("finished behind step " + std::to_string(step) + " after " + short_time(seconds()));
  }

 private:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  ProgressNumbers numbers(Index step, double loss) const {
    const double time = seconds();
    return {step, steps_, loss, time > 0 ? static_cast<double>(step - first_) / time : 0.};
  }
  void write_line(const std::string& line) {
    std::fprintf(stream_, "%s%s\n", is_terminal_ ? "\r\033[K" : "", line.c_str());
    std::fflush(stream_);
  }

  std::FILE* stream_;
  bool is_terminal_;
  Index first_ = 0;
  Index steps_ = 0;
  double loss_ = 0;  // mean over the last steps
  Clock::time_point start_{}, drawn_{};
};

}  // namespace moevit
