/* commands.h - the subcommands of sa2. Each takes its own argv (argv[0] is its name) and returns an
 * exit code of sysexits.h.
 */
#ifndef SA2_TOOLS_COMMANDS_H
#define SA2_TOOLS_COMMANDS_H

int sa2_command_transcribe(int argc, char **argv);
int sa2_command_translate(int argc, char **argv);
int sa2_command_caption(int argc, char **argv);
int sa2_command_chat(int argc, char **argv);
int sa2_command_speak(int argc, char **argv);
int sa2_command_voice(int argc, char **argv);
int sa2_command_vocode(int argc, char **argv);
int sa2_command_tokenize_audio(int argc, char **argv);
int sa2_command_info(int argc, char **argv);
int sa2_command_doctor(int argc, char **argv);
int sa2_command_convert(int argc, char **argv);
int sa2_command_make_checkpoint(int argc, char **argv);
int sa2_command_check(int argc, char **argv);
int sa2_command_bench(int argc, char **argv);

#endif
