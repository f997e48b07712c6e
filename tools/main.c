/* main.c - sa2: one program, a subcommand for each thing it does. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "tools/commands.h"
#include "tools/terminal.h"

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command;

static const command commands[] = {
    {"transcribe", sa2_command_transcribe, "sound files to text"},
    {"translate", sa2_command_translate, "speech to text in another language"},
    {"caption", sa2_command_caption, "what is to be heard in a sound file"},
    {"chat", sa2_command_chat, "talk to the model, in text or sound"},
    {"speak", sa2_command_speak, "text to speech, in a voice"},
    {"voice", sa2_command_voice, "keep voices under names"},
    {"vocode", sa2_command_vocode, "speech tokens or a mel to sound"},
    {"tokenize-audio", sa2_command_tokenize_audio, "recordings to speech tokens"},
    {"info", sa2_command_info, "what is in a model"},
    {"doctor", sa2_command_doctor, "what this machine can do, and the limits of input"},
    {"convert", sa2_command_convert, "make one file of a model folder, which starts at once"},
    {"make-checkpoint", sa2_command_make_checkpoint, "write a synthetic checkpoint"},
    {"check", sa2_command_check, "run golden cases against this build"},
    {"bench", sa2_command_bench, "measure kernels, parts and generation"},
};

static void print_commands(FILE *out)
{
    fprintf(out, "usage: sa2 COMMAND [OPTIONS]\n\n"
                 "Runs Step-Audio 2, a model that hears and speaks.\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\nsa2 COMMAND --help tells more.\n");
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_commands(stdout);
        return EX_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("sa2 %s\n", SA2_VERSION);
        return EX_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "sa2: no command \"%s\"\n", argv[1]);
    print_commands(stderr);
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE,
           SIG_IGN); /* a reader that leaves is a failed write, not the end of the program */
    sa2_stdio_begin();
    return sa2_stdio_end(run(argc, argv));
}
