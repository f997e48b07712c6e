/* native_write.c - a release folder to a native file. */
#include <stdio.h>
#include <unistd.h>

#include "loader/mapped_file.h"
#include "loader/pack_writer.h"
#include "loader/vocab_file.h"
#include "runtime/model.h"
#include "runtime/model_files.h"
#include "runtime/native_progress.h"
#include "runtime/native_sources.h"
#include "runtime/token2wav/token2wav.h"
#include "runtime/token2wav/token2wav_files.h"

enum { PATH_BYTES = 4096 };

/* One conversion. */
typedef struct native_job {
    const char *folder;
    sa2_backend *backend;
    sa2_native_progress progress;
    sa2_pack_writer *writer;
    sa2_native_sources sources;
} native_job;

static int threads_of(const native_job *job)
{
    return job->progress.options->n_threads > 0 ? job->progress.options->n_threads : 1;
}

/* ---- configuration and tokenizer ---- */

static sa2_status copy_text(native_job *job, const char *name, sa2_error *err)
{
    char path[PATH_BYTES], block_name[128];
    sa2_mapped_file file;
    snprintf(path, sizeof path, "%s/%s", job->folder, name);
    if (access(path, F_OK) != 0)
        return SA2_OK; /* not all releases have all, and those that are there were judged */
    sa2_status st = sa2_mapped_file_open(&file, path, err);
    if (st != SA2_OK)
        return st;
    snprintf(block_name, sizeof block_name, "file/%s", name);
    const sa2_pack_block block = {.name = block_name,
                                  .layout = SA2_PACK_ROWS,
                                  .dtype = SA2_U8,
                                  .ndim = 1,
                                  .shape = {(int64_t)file.bytes},
                                  .data = file.data,
                                  .bytes = file.bytes};
    st = sa2_pack_writer_block(job->writer, &block, NULL, err);
    sa2_mapped_file_close(&file);
    return st;
}

static sa2_status copy_texts(native_job *job, sa2_error *err)
{
    sa2_status st = copy_text(job, "config.json", err);
    for (int i = 0; st == SA2_OK && i < SA2_VOCAB_FILES; i++)
        st = copy_text(job, sa2_vocab_file_names[i], err);
    if (st == SA2_OK)
        st = copy_text(job, "card.txt", err);
    if (st == SA2_OK && job->sources.speaks)
        st = copy_text(job, "token2wav/flow.yaml", err);
    return st;
}

/* ---- weights ---- */

static sa2_status write_token2wav(native_job *job, sa2_error *err)
{
    char folder[PATH_BYTES];
    sa2_tensor_map *maps[SA2_TOKEN2WAV_FILES] = {NULL};
    sa2_token2wav_files files = {.path = folder};
    sa2_flow_config config;
    snprintf(folder, sizeof folder, "%s/token2wav", job->folder);
    sa2_status st = sa2_token2wav_files_config(&files, &config, err);
    for (int i = 0; st == SA2_OK && i < SA2_TOKEN2WAV_FILES; i++) {
        st = sa2_token2wav_files_map(&files, &maps[i], (sa2_token2wav_file)i, err);
        if (st == SA2_OK)
            sa2_tensor_map_set_threads(maps[i], threads_of(job));
    }
    if (st == SA2_OK)
        st = sa2_token2wav_pack(job->writer, job->backend, &config, maps[SA2_FLOW_FILE],
                                maps[SA2_VOCODER_FILE], err);
    if (st == SA2_OK)
        st = sa2_voice_encoder_pack(job->writer, job->backend, maps[SA2_SPEECH_TOKENIZER_FILE],
                                    maps[SA2_SPEAKER_FILE], err);
    for (int i = 0; i < SA2_TOKEN2WAV_FILES; i++)
        sa2_tensor_map_destroy(maps[i]);
    return st;
}

static sa2_status write_all(native_job *job, sa2_model_files *files, sa2_error *err)
{
    sa2_tensor_map_set_threads(files->map, threads_of(job));
    sa2_status st = copy_texts(job, err);
    if (st == SA2_OK)
        st = sa2_model_pack(job->writer, job->backend, &files->config, files->map,
                            job->progress.options->quant, err);
    if (st == SA2_OK && job->sources.speaks)
        st = write_token2wav(job, err);
    if (st == SA2_OK)
        st = sa2_native_sources_finish(&job->sources, job->writer, err);
    return st == SA2_OK ? sa2_pack_writer_finish(job->writer, threads_of(job), err) : st;
}

sa2_status sa2_native_write(const char *folder, const char *path, sa2_backend *backend,
                            const sa2_native_options *options, sa2_error *err)
{
    native_job job = {
        .folder = folder, .backend = backend, .progress = {.options = options, .total = 1}};
    const sa2_pack_progress asked = {.go_on = sa2_native_go_on, .context = &job.progress};
    sa2_model_files files = {0};
    sa2_error report = {0};
    sa2_status st = sa2_model_files_open(&files, folder, &report);
    if (st == SA2_OK && sa2_tensor_map_pack(files.map) != NULL)
        st = sa2_fail(&report, SA2_ERR_ARG, "%s: a release folder expected, a native file found",
                      folder);
    if (st == SA2_OK)
        st = sa2_native_sources_find(&job.sources, folder, files.map, &report);
    job.progress.total = 2 * job.sources.bytes; /* about: each byte is written and read back */
    if (st == SA2_OK)
        st = sa2_pack_writer_create(&job.writer, path, &asked, &report);
    if (st == SA2_OK)
        st = sa2_native_sources_start(&job.sources, &report);
    if (st == SA2_OK)
        st = write_all(&job, &files, &report);
    if (st == SA2_OK)
        sa2_native_end(&job.progress);
    else if (err != NULL)
        *err = report;
    sa2_native_sources_close(&job.sources);
    sa2_pack_writer_destroy(job.writer);
    sa2_model_files_close(&files);
    return st;
}
