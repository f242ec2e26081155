"""Signs in to the emulator with each credential of azure-identity that a pipeline or an agent uses, and asks with the token.

Started with the emulator's ready line, the application's certificate and its id on standard input. Prints one line of JSON a credential.
Exit code 0 when all went well.
"""

import json
import os
import sys
import tempfile

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    AzurePipelinesCredential,
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.resource.resources import ResourceManagementClient

from judge import Judge


class Credentials:
    """Makes each credential from what the emulator said."""

    def __init__(self, given):
        self.ready = given["ready"]
        self.certificate = given["certificate"].encode()
        self.application = given["application"]
        self.common = {"authority": self.ready["authority"], "disable_instance_discovery": True}
        self.pipeline = {"system_access_token": self.ready["systemAccessToken"], "service_connection_id": "44444444-4444-4444-8444-444444444444"}
        os.environ["SYSTEM_OIDCREQUESTURI"] = self.ready["oidcRequestUri"]

    def secret(self, secret=None):
        return ClientSecretCredential(self.ready["tenantId"], self.ready["clientId"], secret or self.ready["clientSecret"], **self.common)

    def certificate_of(self, chain):
        return CertificateCredential(
            self.ready["tenantId"], self.application, certificate_data=self.certificate, send_certificate_chain=chain, **self.common
        )

    def pipelines(self):
        return AzurePipelinesCredential(tenant_id=self.ready["tenantId"], client_id=self.ready["clientId"], **self.pipeline, **self.common)

    def token_of_the_pipeline(self):
        """What the pipeline's issuer says of the connection."""
        return self.pipelines()._get_oidc_token()

    def assertion(self):
        return ClientAssertionCredential(self.ready["tenantId"], self.ready["clientId"], self.token_of_the_pipeline, **self.common)

    def workload(self, folder):
        file = os.path.join(folder, "token")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(self.token_of_the_pipeline())
        return WorkloadIdentityCredential(
            tenant_id=self.ready["tenantId"], client_id=self.ready["clientId"], token_file_path=file, **self.common
        )

    def virtual_machine(self, **identity):
        os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = self.ready["resourceManager"]
        return ManagedIdentityCredential(**identity)

    def app_service(self):
        os.environ["IDENTITY_ENDPOINT"] = self.ready["resourceManager"] + "msi/token"
        os.environ["IDENTITY_HEADER"] = self.ready["clientSecret"]
        return ManagedIdentityCredential()


class SignIn(Judge):
    """A judge that signs in in another way."""

    def __init__(self, ready, credential):
        super().__init__(ready)
        self.signs_in_by = credential

    def credential(self):
        return self.signs_in_by


def main():
    given = json.loads(sys.stdin.readline())
    make = Credentials(given)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, credential in [
            ("secret", make.secret),
            ("certificate by thumbprint", lambda: make.certificate_of(False)),
            ("certificate by chain", lambda: make.certificate_of(True)),
            ("Azure Pipelines", make.pipelines),
            ("assertion", make.assertion),
            ("workload identity", lambda: make.workload(folder)),
            ("managed identity of a machine", make.virtual_machine),
            ("managed identity by client id", lambda: make.virtual_machine(client_id=make.ready["clientId"])),
            ("managed identity of App Service", make.app_service),
        ]:
            judge = SignIn(make.ready, credential())
            client = judge.client(ResourceManagementClient)
            judge.call(name, lambda: client.resource_groups.list(), len)
            failed += judge.failed
    failed += not refused(make)
    sys.exit(1 if failed else 0)


def refused(make):
    """A wrong secret is refused with Microsoft Entra's own code."""
    line = {"operation": "wrong secret"}
    try:
        make.secret("wrong").get_token(make.ready["resourceManager"] + ".default")
        line["error"] = "a token was given"
    except ClientAuthenticationError as error:
        if "AADSTS7000215" not in str(error):
            line["error"] = str(error)
    print(json.dumps(line), flush=True)
    return "error" not in line


if __name__ == "__main__":
    main()
