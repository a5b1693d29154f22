"""Holds what lockstep says of a bundle against the field's own readers: in-toto's for the provenance, SPDX's for the bill of
materials. Prints what is wrong, a line each, and ends with 1 if there is something.

    validate.py DIRECTORY
"""

import json
import sys
from pathlib import Path

from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def of_provenance(path):
    text = path.read_text()
    # An unknown key is an error, in the statement and in the predicate.
    try:
        statement = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
        predicate = json.dumps(json.loads(text)["predicate"])
        provenance = json_format.Parse(predicate, provenance_pb2.Provenance())
        statement.validate()
        for resource in provenance.build_definition.resolved_dependencies:
            ResourceDescriptor.copy_from_pb(resource).validate()
    except (json_format.ParseError, ValueError) as error:
        return [str(error)]
    missing = []
    if not provenance.build_definition.build_type:
        missing.append("no build type")
    if not provenance.run_details.builder.id:
        missing.append("no builder")
    return missing


def of_sbom(path):
    try:
        document = parse_file(str(path))
    except SPDXParsingError as error:
        return error.get_messages()
    return [message.validation_message for message in validate_full_spdx_document(document)]


def main():
    directory = Path(sys.argv[1])
    wrong = of_provenance(directory / "provenance.json") + of_sbom(directory / "sbom.spdx.json")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


sys.exit(main())
