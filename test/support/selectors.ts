/**
 * Label selectors as they are written in a request, for stand-ins: `a=b`, `a!=b`, `a`, `!a`, joined by commas.
 */
type Labels = Readonly<Record<string, string>>;

export function labelsOf(metadata: { readonly labels?: Labels }): Labels {
  return metadata.labels ?? {};
}

/** Whether labels match; an empty text matches everything. Throws at what is not modelled. */
export function matchesText(text: string, labels: Labels): boolean {
  return text
    .split(',')
    .filter((each) => each !== '')
    .every((each) => {
      const [, not = '', key = '', operator = '', value = ''] = /^(!?)([^=!() ]+)(?:(==?|!=)([^=() ]*))?$/.exec(each) ?? [];
      if (key === '') throw new Error(`the stand-in does not know the selector ${each}`);
      if (operator === '') return key in labels === (not === '');
      return (labels[key] === value) === (operator !== '!=');
    });
}
