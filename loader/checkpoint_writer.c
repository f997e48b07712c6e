#include "loader/checkpoint_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/expected_tensors.h"
#include "loader/mapped_file.h"
#include "loader/output_file.h"
#include "loader/output_folder.h"
#include "loader/shard_writer.h"
#include "loader/synthetic.h"
#include "loader/synthetic_vocab.h"
#include "loader/token2wav_writer.h"
#include "loader/tokenizer_writer.h"

enum { PATH_BYTES = 4096 };

/* One checkpoint that is being written. */
typedef struct checkpoint_job {
    const sa2_preset *preset;
    const sa2_checkpoint_options *options;
    sa2_output_folder folder;
    sa2_tensor_list list;
    sa2_tensor_map *map;
    int64_t done_bytes, total_bytes; /* of the values of all files */
} checkpoint_job;

static sa2_status write_text(const checkpoint_job *job, const char *name, const char *text,
                             sa2_error *err)
{
    char path[PATH_BYTES];
    if (text == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", name);
    snprintf(path, sizeof path, "%s/%s", job->folder.path, name);
    return sa2_write_whole_file(path, text, strlen(text), err);
}

/* Called with the bytes of values that were written since the last call. */
static void add_progress(void *context, int64_t bytes)
{
    checkpoint_job *job = context;
    job->done_bytes += bytes;
    if (job->options->progress != NULL)
        job->options->progress(job->options->context, job->done_bytes, job->total_bytes);
}

/* ---- weights ---- */

static bool add_shard_progress(void *context, int64_t bytes)
{
    add_progress(context, bytes);
    return true;
}

static sa2_status write_weights(checkpoint_job *job, sa2_error *err)
{
    const sa2_shard_options options = {.shard_bytes = job->options->shard_bytes,
                                       .n_threads = job->options->n_threads,
                                       .go_on = add_shard_progress,
                                       .context = job};
    return sa2_shards_write(job->folder.path, &job->list, job->map, &options, err);
}

static sa2_status write_token2wav(checkpoint_job *job, sa2_error *err)
{
    char path[PATH_BYTES];
    sa2_status st = sa2_output_folder_add(&job->folder, "token2wav", err);
    if (st != SA2_OK)
        return st;
    snprintf(path, sizeof path, "%s/token2wav", job->folder.path);
    sa2_write_progress progress = {.call = add_progress, .context = job};
    return sa2_token2wav_write(path, job->preset, job->options->seed, progress, err);
}

/* ---- configuration and tokenizer ---- */

static sa2_status write_config(const checkpoint_job *job, sa2_error *err)
{
    char *text = sa2_model_config_json(&job->preset->config);
    sa2_status st = write_text(job, "config.json", text, err);
    free(text);
    return st;
}

/* Its ids must lie in the embedding. */
static sa2_status check_tokenizer(const checkpoint_job *job, sa2_error *err)
{
    sa2_vocab_file vocab = {0};
    int rows = job->preset->config.decoder.vocab;
    sa2_status st = sa2_vocab_file_load(&vocab, job->options->tokenizer, err);
    if (st != SA2_OK)
        return st;
    int last = vocab.vocab[vocab.n_vocab - 1].id;
    if (vocab.n_added > 0 && vocab.added[vocab.n_added - 1].id > last)
        last = vocab.added[vocab.n_added - 1].id;
    if (last >= rows)
        st = sa2_fail(err, SA2_ERR_ARG, "tokenizer %s: ids to %d, preset %s has %d rows",
                      job->options->tokenizer, last, job->preset->name, rows);
    sa2_vocab_file_destroy(&vocab);
    return st;
}

static sa2_status copy_tokenizer(const checkpoint_job *job, sa2_error *err)
{
    sa2_status st = check_tokenizer(job, err);
    for (size_t i = 0; st == SA2_OK && i < SA2_VOCAB_FILES; i++) {
        char from[PATH_BYTES], to[PATH_BYTES];
        sa2_mapped_file file;
        snprintf(from, sizeof from, "%s/%s", job->options->tokenizer, sa2_vocab_file_names[i]);
        snprintf(to, sizeof to, "%s/%s", job->folder.path, sa2_vocab_file_names[i]);
        if (access(from, F_OK) != 0)
            continue; /* not all releases have all six, and those that are there were judged */
        st = sa2_mapped_file_open(&file, from, err);
        if (st != SA2_OK)
            break;
        st = sa2_write_whole_file(to, file.data, file.bytes, err);
        sa2_mapped_file_close(&file);
    }
    return st;
}

static sa2_status write_tokenizer(const checkpoint_job *job, sa2_error *err)
{
    if (job->options->tokenizer != NULL)
        return copy_tokenizer(job, err);
    sa2_vocab_file vocab = {0};
    sa2_status st = sa2_synthetic_vocab(&vocab, job->preset, err);
    if (st == SA2_OK)
        st = sa2_tokenizer_write(job->folder.path, &vocab,
                                 job->preset->config.decoder.max_positions, err);
    sa2_vocab_file_destroy(&vocab);
    return st;
}

/* ---- the folder ---- */

static sa2_status plan(checkpoint_job *job, sa2_error *err)
{
    sa2_status st = sa2_expected_tensors(&job->list, &job->preset->config, err);
    if (st == SA2_OK)
        st = sa2_synthetic_map(&job->map, job->preset, job->options->seed, err);
    if (st != SA2_OK)
        return st;
    uint64_t token2wav_bytes = 0;
    st = sa2_token2wav_bytes(&token2wav_bytes, job->preset, err);
    if (st != SA2_OK)
        return st;
    job->total_bytes = (int64_t)(sa2_tensor_list_bytes(&job->list) + token2wav_bytes);
    return SA2_OK;
}

sa2_status sa2_checkpoint_write(const char *folder, const sa2_preset *preset,
                                const sa2_checkpoint_options *options, sa2_error *err)
{
    checkpoint_job job = {.preset = preset, .options = options};
    sa2_status st = plan(&job, err);
    if (st == SA2_OK)
        st = sa2_output_folder_create(&job.folder, folder, job.total_bytes, err);
    if (st == SA2_OK)
        st = write_config(&job, err);
    if (st == SA2_OK)
        st = write_tokenizer(&job, err);
    if (st == SA2_OK)
        st = write_weights(&job, err);
    if (st == SA2_OK)
        st = write_token2wav(&job, err);
    if (st == SA2_OK)
        st = sa2_output_folder_commit(&job.folder, err);
    sa2_output_folder_destroy(&job.folder);
    sa2_tensor_map_destroy(job.map);
    sa2_tensor_list_destroy(&job.list);
    return st;
}
