/// What every program here does around its work: command line, exit codes, errors on standard error.
#pragma once

#include <moevit/build_info.hpp>
#include <moevit/core/error.hpp>

#include <CLI/CLI.hpp>

#include <exception>
#include <iostream>
#include <string>

namespace examples {

inline constexpr const char* exit_code_help =
    "Exit codes: 0 all went well; 1 something could not be read, written or used (said on standard error); 2 wrong "
    "command line.";

enum ExitCode : int { success = 0, failure = 1, wrong_usage = 2 };

/// Parses the command line and runs `work`, which returns an exit code. `app` gets --version and the footer on exit
/// codes.
template <class Work>
int run_program(CLI::App& app, int argc, char** argv, Work work) {
  app.set_version_flag("--version", moevit::build_info());
  app.footer(std::string(app.get_footer()) + "\n" + exit_code_help);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? success : wrong_usage;  // prints help and version, or what is wrong on standard error
  }
  if (const std::string warning = moevit::build_warning(); !warning.empty())
    std::cerr << app.get_name() << ": warning: " << warning << '\n';
  try {
    const int code = work();
    std::cout.flush();
    if (!std::cout) moevit::fail("standard output cannot be written");
    return code;
  } catch (const std::exception& error) {
    std::cerr << app.get_name() << ": error: " << error.what() << '\n';
    return failure;
  }
}

}  // namespace examples
