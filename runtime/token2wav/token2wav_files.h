/* token2wav_files.h - what token2wav is opened from: the token2wav/ folder of a release, or a native file.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_TOKEN2WAV_FILES_H
#define SA2_RUNTIME_TOKEN2WAV_TOKEN2WAV_FILES_H

#include <stddef.h>

#include "loader/flow_yaml.h"
#include "loader/token2wav_reader.h"

typedef struct sa2_token2wav_files {
    const char *path; /* the caller's */
    sa2_pack *pack;   /* NULL: a folder */
} sa2_token2wav_files;

/* Where the token2wav of a model is: "MODEL/token2wav", or a native file itself. Errors: SA2_ERR_IO too long. */
sa2_status sa2_token2wav_place(char *path, size_t bytes, const char *model, sa2_error *err);

/* Errors: those of sa2_pack_open(); SA2_ERR_FORMAT a native file that was made without token2wav. */
sa2_status sa2_token2wav_files_open(sa2_token2wav_files *files, const char *path, sa2_error *err);
void sa2_token2wav_files_close(sa2_token2wav_files *files); /* maps stay open; zeroed is fine */

/* The caller owns *map. Errors: those of the readers. */
sa2_status sa2_token2wav_files_map(const sa2_token2wav_files *files, sa2_tensor_map **map,
                                   sa2_token2wav_file file, sa2_error *err);

sa2_status sa2_token2wav_files_config(const sa2_token2wav_files *files, sa2_flow_config *config,
                                      sa2_error *err);

/* All of the above for the configuration of a model: the place, for who opens more of it, and what flow.yaml says. */
sa2_status sa2_token2wav_look(sa2_flow_config *config, char *place, size_t bytes, const char *model,
                              sa2_error *err);

#endif
