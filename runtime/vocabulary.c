#include "runtime/vocabulary.h"

sa2_status sa2_vocabulary_of(sa2_vocabulary *vocabulary, const sa2_vocab_file *file, sa2_error *err)
{
    *vocabulary = (sa2_vocabulary){0};
    const sa2_tokenizer_source source = {
        .vocab = file->vocab,
        .merges = file->merges,
        .added = file->added,
        .n_vocab = (size_t)file->n_vocab,
        .n_merges = (size_t)file->n_merges,
        .n_added = (size_t)file->n_added,
    };
    sa2_status st = sa2_tokenizer_create(&vocabulary->tokenizer, &source, err);
    if (st == SA2_OK)
        st = sa2_special_find(&vocabulary->special, vocabulary->tokenizer, err);
    if (st != SA2_OK)
        sa2_vocabulary_close(vocabulary);
    return st;
}

sa2_status sa2_vocabulary_open(sa2_vocabulary *vocabulary, const char *folder, sa2_error *err)
{
    *vocabulary = (sa2_vocabulary){0};
    sa2_vocab_file file = {0};
    sa2_status st = sa2_vocab_file_load(&file, folder, err);
    if (st == SA2_OK)
        st = sa2_vocabulary_of(vocabulary, &file, err);
    sa2_vocab_file_destroy(&file);
    return st;
}

void sa2_vocabulary_close(sa2_vocabulary *vocabulary)
{
    sa2_tokenizer_destroy(vocabulary->tokenizer);
    *vocabulary = (sa2_vocabulary){0};
}
