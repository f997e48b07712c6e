/* model_place.h - where a model is that was asked for by name.
 */
#ifndef SA2_TOOLS_MODEL_PLACE_H
#define SA2_TOOLS_MODEL_PLACE_H

#include <stddef.h>

enum { SA2_MODEL_PLACE = 4096 };

/* What `name` says when it is there or holds a slash. Else the folder of that name among those of $SA2_MODELS, or of
 * models/ beside the program, written to `place`. Where neither has it, `name`: whoever opens it says so. NULL stays
 * NULL. */
const char *sa2_model_place(char place[SA2_MODEL_PLACE], const char *name);

#endif
