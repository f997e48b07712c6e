/* vocab_builder.h - puts the arrays of a sa2_vocab_file together, from files that may disagree.
 *
 * Mistakes are lines of the report; adding goes on after one. Inside loader/ only.
 */
#ifndef SA2_LOADER_VOCAB_BUILDER_H
#define SA2_LOADER_VOCAB_BUILDER_H

#include "loader/name_table.h"
#include "loader/vocab_file.h"

/* An added token and the source that it comes from. */
typedef struct sa2_vocab_candidate {
    sa2_added_entry token;
    int source;
} sa2_vocab_candidate;

/* Zero-initialise it but for err. */
typedef struct sa2_vocab_builder {
    sa2_vocab_file vocab;
    int vocab_room, merges_room;
    sa2_vocab_candidate *added; /* become vocab.added at the end */
    int n_added, added_room;
    sa2_name_table contents; /* from content to index in added */
    int source;              /* the files so far; a lower one wins */
    sa2_status status;       /* of the first mistake */
    sa2_error *err;          /* report, or NULL */
} sa2_vocab_builder;

/* Adds a line to the report. */
void sa2_vocab_complain(sa2_vocab_builder *b, sa2_status st, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void sa2_vocab_add_entry(sa2_vocab_builder *b, const char *origin, const char *symbols, int64_t id);

/* left and right need no 0 at their end. */
void sa2_vocab_add_merge(sa2_vocab_builder *b, const char *origin, const char *left, size_t n_left,
                         const char *right, size_t n_right);

/* Sources come in order of precedence: what a source says about a content or an id that an
 * earlier one has is left out. */
void sa2_vocab_next_source(sa2_vocab_builder *b);
void sa2_vocab_add_added(sa2_vocab_builder *b, const char *origin, const char *content, int64_t id,
                         bool special);

/* Marks an added token as special, if there is such a one. */
void sa2_vocab_mark_special(sa2_vocab_builder *b, const char *content);

/* A copy of the text among those of the vocabulary. */
const char *sa2_vocab_text(sa2_vocab_builder *b, const char *text);

/* Sorts and checks; gives the vocabulary away on success. */
sa2_status sa2_vocab_builder_finish(sa2_vocab_builder *b, sa2_vocab_file *vocab);

/* Of what was not given away. */
void sa2_vocab_builder_destroy(sa2_vocab_builder *b);

#endif
