/* check_parts.h - the tables of parts that check_case.c looks through; each ends with a NULL name.
 */
#ifndef SA2_TOOLS_CHECK_PARTS_H
#define SA2_TOOLS_CHECK_PARTS_H

#include "tools/check_case.h"

extern const sa2_check_part sa2_check_hearing_parts[];    /* check_hearing.c */
extern const sa2_check_part sa2_check_decoder_parts[];    /* check_decoder.c */
extern const sa2_check_part sa2_check_generation_parts[]; /* check_generation.c */

#endif
