/* token2wav_check.h - what is in the token2wav/ folder of a release, and everything that is wrong with it.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_TOKEN2WAV_CHECK_H
#define SA2_RUNTIME_TOKEN2WAV_TOKEN2WAV_CHECK_H

#include "loader/token2wav_tensors.h"
#include "loader/token2wav_writer.h"

/* Of one file. */
typedef struct sa2_token2wav_size {
    int64_t tensors, parameters, bytes;
} sa2_token2wav_size;

typedef struct sa2_token2wav_summary {
    sa2_token2wav_dims dims;
    sa2_token2wav_size sizes[SA2_TOKEN2WAV_FILES]; /* by sa2_token2wav_file */
} sa2_token2wav_summary;

/* Reads names and shapes of all files, no weights. The report has a line for every mistake of every file, and where they do
 * not fit together. Errors: those of the readers; SA2_ERR_FORMAT. */
sa2_status sa2_token2wav_check(sa2_token2wav_summary *summary, const char *folder, sa2_error *err);

#endif
